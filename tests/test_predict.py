from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from networks import settle
from PIL import Image
from run_lengths import encode
from videos import pictures, write_video

from adnet import predict
from adnet.backends.load import checkpoint_sha256
from adnet.data.masks import write_mask
from adnet.inference import load_checkpoint
from adnet.models import ADNet, upsample
from adnet.weights.pretrained import locate


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_model: ADNet, tiny_model_config: dict[str, Any]) -> Path:
    content = {
        "hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]},
        "state_dict": {f"model.{name}": value for name, value in tiny_model.state_dict().items()},
    }
    torch.save(content, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


@pytest.fixture
def call(run: Callable[..., Any], checkpoint: Path, tmp_path: Path) -> Callable[..., Any]:
    def predicted(*arguments: str) -> Any:
        usual = {"checkpoint": checkpoint, "output": tmp_path / "out", "device": "cpu"}
        given = {argument.partition("=")[0] for argument in arguments}
        return run(predict.main, *(f"{key}={value}" for key, value in usual.items() if key not in given), *arguments)

    return predicted


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_video_again_and_another(call: Callable[..., Any], tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", pictures(3))
    out = tmp_path / "out"
    masks = ["masks/00000.png", "masks/00001.png", "masks/00002.png"]
    ended = call(f"input={clip}")
    assert ended.code == 0, ended.err
    assert names(out) == [*masks, "predict.json"]
    with Image.open(out / masks[0]) as mask:
        assert (mask.mode, mask.size) == ("L", (80, 48))
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
    assert "clip: 3 frames, 3 now, in " in ended.out
    marker = json.loads((out / "predict.json").read_text())
    assert (marker["backend"], marker["postprocess"], marker["protocol"]["name"]) == ("torch", None, "refined")
    assert marker["precision"] == "fp32"
    assert marker["videos"]["clip"]["frames"] == 3

    # The same again: nothing to do; then what is wanted more; then what was lost.
    assert "clip: 3 frames, all there already" in call(f"input={clip}").out
    ended = call(f"input={clip}", "overlay=true", "rle=true", "polygons=true", "cutout=true")
    assert "clip: 3 frames, 0 now" in ended.out, ended.err
    assert {"overlay.mp4", "rle.json", "polygons.json", "cutouts/00002.png"} < set(names(out))
    (out / masks[1]).unlink()
    assert "clip: 3 frames, 1 now" in call(f"input={clip}").out

    # Another run's folder is left alone, until that is what one wants.
    before = (out / "predict.json").read_bytes()
    for change in ("protocol.threshold=0.4", "size=[65,113]", "anchor=1", "precision=bf16"):
        ended = call(f"input={clip}", change)
        assert (ended.code, ended.err) == (
            1,
            f"adnet: {out} holds another prediction; give another output, or overwrite=true\n",
        )
    write_video(clip, pictures(2))  # another video of the same name
    assert call(f"input={clip}").code == 1
    assert (out / "predict.json").read_bytes() == before
    ended = call(f"input={clip}", "overwrite=true")
    assert ended.code == 0, ended.err
    assert names(out) == [*masks[:2], "predict.json"]  # nothing of the longer one is left


def test_sigterm_keeps_the_masks_so_far(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of `kill`, `timeout`, Slurm and Docker; the same command then finishes."""
    clip, out, written = write_video(tmp_path / "clip.mp4", pictures(20)), tmp_path / "out", list[Path]()

    def write(path: Path, mask: Any) -> None:
        write_mask(path, mask)
        written.append(path)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("adnet.inference.predict_videos.write_mask", write)
    ended = call(f"input={clip}", "overlay=true")
    assert (ended.code, ended.err.splitlines()[-1]) == (128 + signal.SIGTERM, "adnet: stopped by SIGTERM")
    assert names(out) == [*(f"masks/{path.name}" for path in written), "predict.json"]
    left = 20 - len(written)
    ended = call(f"input={clip}", "overlay=true")
    assert (ended.code, f"clip: 20 frames, {left} now" in ended.out) == (0, True), ended.err


def test_overwriting_removes_what_was_predicted_and_nothing_else(
    call: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in "ab":
        shutil.copytree(images, tmp_path / "videos" / name)
    assert call(f"input={tmp_path}/videos/*").code == 0
    (out / "a" / "notes.txt").write_text("mine")
    (out / "c" / "masks").mkdir(parents=True)
    (out / "c" / "masks" / "0.png").write_bytes(b"not adnet's")
    assert call(f"input={tmp_path}/videos/b", "overwrite=true").code == 0
    assert names(out) == ["a/notes.txt", "c/masks/0.png", "masks/0.png", "masks/1.png", "predict.json"]
    assert call(f"input={tmp_path}/videos/*", "overwrite=true").code == 0
    masks = [f"{name}/masks/{number}.png" for name in "ab" for number in range(2)]
    assert names(out) == sorted(["a/notes.txt", "c/masks/0.png", *masks, "predict.json"])
    (out / "masks").mkdir()
    (out / "masks" / "mine.png").write_bytes(b"not adnet's")
    assert call(f"input={tmp_path}/videos/*", "overwrite=true", "size=[33,57]").code == 0
    assert names(out) == sorted(["a/notes.txt", "c/masks/0.png", *masks, "masks/mine.png", "predict.json"])
    (out / "predict.json").write_text('{"input": 5}')
    assert call(f"input={tmp_path}/videos/*", "overwrite=true").code == 0


def detections(file: Path, video: str, score: float, frame: str = "1") -> Path:
    """One of the whole frame."""
    mask = {"size": [48, 80], "counts": [0, 48 * 80]}
    file.write_text(json.dumps([{"image_id": f"{video}/{frame}", "score": score, "segmentation": mask}]))
    return file


PRUNE = ("postprocess=instance_pruning", "postprocess/detector=precomputed")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number, image in enumerate(pictures(2)):
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


@pytest.mark.parametrize("change", ["detections", "anchor", "frame", "fps"])
def test_what_was_made_of_another_content_is_left_alone(
    call: Callable[..., Any], images: Path, tmp_path: Path, change: str
) -> None:
    anchor = tmp_path / "anchor.png"
    Image.fromarray(pictures(1)[0]).save(anchor)
    found = detections(tmp_path / "found.json", "in", 0.1)
    given = [f"input={images}", f"anchor={anchor}", *PRUNE, f"postprocess.detector.file={found}"]
    assert call(*given).code == 0
    assert "all there already" in call(*given).out
    if change == "detections":
        detections(found, "in", 0.2)
    elif change == "fps":
        given.append("fps=12")
    else:
        Image.fromarray(255 - pictures(1)[0]).save(anchor if change == "anchor" else images / "1.png")
    ended = call(*given)
    assert (ended.code, "holds another prediction" in ended.err) == (1, True)


@pytest.mark.parametrize("mistake", ["anchor=9", "the detections of another video"])
def test_a_run_that_failed_leaves_the_folder_to_the_mended_command(
    call: Callable[..., Any], images: Path, tmp_path: Path, mistake: str
) -> None:
    given = [f"input={images}", mistake]
    if "detections" in mistake:  # which is found out when all frames are done
        given[1:] = [*PRUNE, f"postprocess.detector.file={detections(tmp_path / 'found.json', 'in', 0.9, 'no frame')}"]
    ended = call(*given)
    assert (ended.code, ended.err.count("adnet: ")) == (1, 1)
    assert not (tmp_path / "out").exists()
    ended = call(f"input={images}", "anchor=1")
    assert ended.code == 0, ended.err


def test_a_video_that_failed_leaves_no_folder_beside_the_others(
    call: Callable[..., Any], images: Path, tmp_path: Path
) -> None:
    shutil.copytree(images, tmp_path / "more")
    entries = [
        json.loads(detections(tmp_path / "one.json", *given).read_text())[0]
        for given in (("in", 0.9), ("more", 0.9, "no frame"))
    ]
    (tmp_path / "found.json").write_text(json.dumps(entries))
    ended = call(
        f"input=[{images},{tmp_path / 'more'}]", *PRUNE, f"postprocess.detector.file={tmp_path / 'found.json'}"
    )
    assert ended.code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["in", "predict.json"]


def test_several_videos_of_which_one_is_damaged(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "in" / f"{name}.mp4", pictures(2))
    (tmp_path / "in" / "aa.mp4").write_bytes(b"damaged")
    ended = call(f"input={tmp_path}/in/*.mp4")
    assert ended.code == 1
    errors = [line for line in ended.err.splitlines() if line.startswith("adnet:")]
    assert len(errors) == 1
    assert "cannot read the video" in errors[0]
    assert "aa.mp4: Invalid data found" in errors[0]
    assert "Traceback" not in ended.err
    out = tmp_path / "out"
    assert names(out) == [f"{video}/masks/0000{frame}.png" for video in "ab" for frame in range(2)] + ["predict.json"]

    # A list does the same; what is wrong is said again.
    ended = call(f"input={tmp_path}/in/*.mp4")
    assert ended.code == 1
    assert "aa.mp4" in ended.err
    assert "a: 2 frames, all there already" in ended.out


def test_a_mistaken_input_leaves_no_folder(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    ended = call(f"input={tmp_path / 'notes.txt'}")
    assert ended.code == 1
    assert "cannot read the video" in ended.err
    assert names(tmp_path / "out") == []
    ended = call("input=nothing.mp4")
    assert ended.err.startswith("adnet: there is no nothing.mp4; input is a video")
    assert call().err == "adnet: input has no value: give input=...\n"
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "thesis.tex").touch()
    clip = write_video(tmp_path / "clip.mp4", pictures(2))
    assert "is not empty and holds no prediction" in call(f"input={clip}").err


def test_settings_that_can_t_be_are_one_line(call: Callable[..., Any], images: Path) -> None:
    for setting, line in {
        "fps=0": "fps=0: expected a number above 0",
        "protocol.scales=[]": "protocol.scales is []; give one or more above 0, such as [0.75,1.0,1.5]",
        "protocol.scales=[0]": "protocol.scales is [0]; give one or more above 0, such as [0.75,1.0,1.5]",
        "anchor=-1": "anchor=-1 is neither an existing image nor a frame number, counted from 0",
        f"output={images / '0.png'}": f"output={images / '0.png'} is a file; give a folder",
    }.items():
        ended = call(f"input={images}", setting)
        assert (ended.code, ended.err) == (1, f"adnet: {line}\n")
    for device in ("foo", "mps"):
        ended = call(f"input={images}", f"device={device}")
        assert ended.err.startswith(f"adnet: device={device} can't be used (")
        assert ended.err.count("\n") == 1
        assert len(ended.err) < 300


@pytest.fixture
def motion_checkpoint(checkpoint: Path, tiny_model_config: dict[str, Any]) -> Path:
    """The network with a motion branch in place of the one without."""
    torch.manual_seed(0)
    config = tiny_model_config | {"variant": "full_motion", "motion": tiny_model_config["encoder"]}
    model = settle(instantiate(config), (33, 57))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": config, "test_size": [33, 57]}, "state_dict": weights}, checkpoint)
    return checkpoint


@pytest.mark.usefixtures("motion_checkpoint")
def test_flow_that_others_computed(call: Callable[..., Any], tmp_path: Path) -> None:
    for index, image in enumerate(pictures(3)):
        frame = tmp_path / "clip" / f"{index:05d}.png"
        frame.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(frame)
        flow = np.random.default_rng(index).normal(0, 5, (48, 80, 2)).astype(np.float32)
        (tmp_path / "flow" / "clips").mkdir(parents=True, exist_ok=True)
        cv2.writeOpticalFlow(str(tmp_path / "flow" / "clips" / f"{index:05d}.flo"), flow)
    arguments = (
        f"input={tmp_path / 'clip'}",
        "flow=folder",
        f"flow.method.root={tmp_path / 'flow'}",
        "probabilities=true",
    )
    ended = call(*arguments)
    assert ended.err == f"adnet: no folder {tmp_path}/flow/clip with the optical flow of clip: set flow.method.root\n"
    assert not (tmp_path / "out").exists()
    (tmp_path / "flow" / "clips").rename(tmp_path / "flow" / "clip")
    ended = call(*arguments)
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "out" / "predict.json").read_text())["flow"]["method"].startswith("FlowFolder(root=")
    given = (tmp_path / "out" / "probabilities" / "00001.png").read_bytes()
    flow_file = tmp_path / "flow" / "clip" / "00002.flo"
    before = flow_file.read_bytes()
    flow_file.write_bytes((tmp_path / "flow" / "clip" / "00001.flo").read_bytes())
    assert "holds another prediction" in call(*arguments).err
    flow_file.write_bytes(before)
    assert call(*arguments).code == 0
    assert call(arguments[0], "probabilities=true", "overwrite=true").code == 0
    assert (tmp_path / "out" / "probabilities" / "00001.png").read_bytes() != given
    assert "flow.method.root has no value" in call(*arguments[:2]).err


@pytest.mark.usefixtures("motion_checkpoint")
@pytest.mark.parametrize(
    ("names_of_flow", "mistake"),
    [
        ((0, 1, 3), "no optical flow of frame 00002 in"),
        ((0, 1, 2, 3, 4), "has flow of 5 frames, including 00004, which is not among the 4 frames of b"),
    ],
)
def test_flow_of_other_frames_is_found_before_anything_is_written(
    call: Callable[..., Any], tmp_path: Path, names_of_flow: tuple[int, ...], mistake: str
) -> None:
    """And before the videos whose flow is right."""
    for video, flow_files in (("a", range(4)), ("b", names_of_flow)):
        for folder in ("in", "flow"):
            (tmp_path / folder / video).mkdir(parents=True)
        for index, image in enumerate(pictures(4)):
            Image.fromarray(image).save(tmp_path / "in" / video / f"{index:05d}.png")
        for index in flow_files:
            file = tmp_path / "flow" / video / f"{index:05d}.flo"
            cv2.writeOpticalFlow(str(file), np.zeros((48, 80, 2), np.float32))
    ended = call(f"input={tmp_path}/in/*", "flow=folder", f"flow.method.root={tmp_path / 'flow'}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert mistake in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("motion_checkpoint")
@pytest.mark.parametrize("flow", [[], ["flow=folder", "flow.method.root=nowhere"]], ids=["computed", "of others"])
def test_one_image_is_segmented_by_its_appearance(
    call: Callable[..., Any], tmp_path: Path, motion_checkpoint: Path, flow: list[str]
) -> None:
    """An image has no motion: the mask is the network's without flow, and no file of flow is looked for."""
    image = pictures(1)[0]
    Image.fromarray(image).save(tmp_path / "one.png")
    ended = call(f"input={tmp_path / 'one.png'}", "probabilities=true", "size=[33,57]", "protocol=single_scale", *flow)
    assert ended.code == 0, ended.err
    model, _ = load_checkpoint(motion_checkpoint)
    frame = upsample(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, (33, 57))
    with torch.no_grad():
        expected, moving = (
            upsample(model(frame, frame, motion), (48, 80)).sigmoid()[0, 0].numpy()
            for motion in (None, torch.rand_like(frame))
        )
    assert np.abs(moving - expected).max() > 0.02  # motion would say something
    with Image.open(tmp_path / "out" / "probabilities" / "one.png") as probability:
        np.testing.assert_allclose(np.asarray(probability) / 255, expected, atol=0.003)


@pytest.mark.usefixtures("motion_checkpoint")
def test_instance_pruning_after_a_network_with_motion(call: Callable[..., Any], images: Path, tmp_path: Path) -> None:
    """What was pruned is in no mask, and the rest is what the network alone says."""
    small = np.zeros((48, 80), bool)
    small[4:12, 40:60] = True
    large = np.zeros((48, 80), bool)
    large[20:, :60] = True
    found = [
        {"image_id": f"in/{frame}", "score": 0.9, "segmentation": encode(mask)}
        for frame in (0, 1)
        for mask in (small, large)
    ]
    (tmp_path / "found.json").write_text(json.dumps(found))
    given = (f"input={images}", "probabilities=true", "protocol.threshold=0")
    pruning = (
        *PRUNE,
        f"postprocess.detector.file={tmp_path / 'found.json'}",
        "postprocess.area=0.5",
        "postprocess.margin=0",
    )
    for output, more in (("plain", ()), ("pruned", pruning)):
        ended = call(*given, *more, f"output={tmp_path / output}")
        assert ended.code == 0, ended.err
    for name in ("0.png", "1.png"):
        plain, pruned, mask = (
            np.asarray(Image.open(tmp_path / folder / name))
            for folder in ("plain/probabilities", "pruned/probabilities", "pruned/masks")
        )
        assert plain.min() > 0
        np.testing.assert_array_equal(pruned, np.where(small, 0, plain))
        np.testing.assert_array_equal(mask, np.where(small, 0, 255))


class Camera:
    opened_in: threading.Thread
    read_in: threading.Thread

    def __init__(self, index: int) -> None:
        self.left = 2 + index
        Camera.opened_in = threading.current_thread()

    def read(self) -> tuple[bool, Any]:
        Camera.read_in = threading.current_thread()
        self.left -= 1
        return self.left >= 0, pictures(1)[0]

    def release(self) -> None: ...


def test_webcam(call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    ended = call("input=0", "overlay=true")
    assert "webcam0: 2 frames, 2 now" in ended.out, ended.err
    assert "the webcam 0 stopped after 2 frames" in ended.err
    # macOS asks for permission in the main thread alone.
    assert Camera.opened_in is threading.main_thread() is not Camera.read_in
    assert (tmp_path / "out" / "overlay.mp4").is_file()
    assert "holds a webcam's video" in call("input=0", "overlay=true").err


def test_every_postprocess_composes() -> None:
    import hydra

    from adnet.shared.check_config import check_config
    from adnet.shared.command import conf_dir

    for command in ("predict", "evaluate"):
        for path in sorted((conf_dir() / "postprocess").glob("*.yaml")):
            with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
                check_config(hydra.compose(command, [f"postprocess={path.stem}"]), command)


def test_a_video_alone_is_enough(run: Callable[..., Any], tmp_path: Path) -> None:
    """By the weights that come with the package, into a folder named after the video."""
    clip = write_video(tmp_path / "clip.mp4", pictures(3))
    ended = run(predict.main, f"input={clip}", "size=[33,57]")
    assert ended.code == 0, ended.err
    out = Path("predictions/clip")
    assert names(out) == [*(f"masks/{index:05d}.png" for index in range(3)), "predict.json"]
    assert json.loads((out / "predict.json").read_text())["checkpoint_sha256"] == checkpoint_sha256(locate(None))


@pytest.mark.parametrize(
    ("module", "argument", "what"),
    [
        ("av", "input=clip.mp4", "clip.mp4, a video and not images,"),
        ("av", "overlay=true", "overlay=true"),
        ("pycocotools", "rle=true", "rle=true"),
        ("pycocotools", "polygons=true", "polygons=true"),
    ],
)
def test_what_an_extra_brings_is_asked_for_before_the_work(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, argument: str, what: str
) -> None:
    write_video(tmp_path / "clip.mp4", pictures(2))
    (tmp_path / "frames").mkdir()
    Image.fromarray(pictures(1)[0]).save(tmp_path / "frames" / "0.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("adnet.backends.load.load_backend", lambda *_: pytest.fail("the network was loaded"))
    ended = call(*{"input=frames", argument} - ({"input=frames"} if argument.startswith("input") else set()))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"adnet: {what} needs the extra: pip install 'adnet[video]'\n"
    assert not (tmp_path / "out").exists()
