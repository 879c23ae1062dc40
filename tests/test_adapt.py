from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_documents import commands
from videos import pictures, write_video

from adnet import adapt, predict
from adnet.data.masks import read_mask, write_mask
from adnet.data.pictures import read_frame
from adnet.data.synthetic import synthesize
from adnet.inference import load_checkpoint
from adnet.models import ADNet
from adnet.models.checkpoint import write_checkpoint
from adnet.shared.files import read_json, write_json

RED = np.pad(np.ones((24, 40), bool), ((0, 24), (0, 40)))
"""The red corner of `pictures`."""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", pictures(4))


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_model: ADNet) -> Path:
    write_checkpoint(tmp_path / "tiny.ckpt", tiny_model, (33, 57))
    return tmp_path / "tiny.ckpt"


@pytest.fixture
def call(run: Callable[..., Any], tmp_path: Path, video: Path, checkpoint: Path) -> Callable[..., Any]:
    """Adapt a tiny network to a video of 4 frames and the masks in `masks`."""
    (tmp_path / "masks").mkdir()

    def adapted(*arguments: str) -> Any:
        usual = {"input": video, "masks": tmp_path / "masks", "checkpoint": checkpoint, "output": tmp_path / "out"}
        given = {argument.partition("=")[0] for argument in arguments}
        paths = [f"{key}={value}" for key, value in usual.items() if key not in given]
        return run(adapt.main, *paths, "device=cpu", "steps=10", *arguments)

    return adapted


def test_the_commands_of_the_guide(run: Callable[..., Any], video: Path, checkpoint: Path) -> None:
    here = Path.cwd()
    for name in ("video.mp4", "another.mp4"):
        shutil.copy(video, here / name)
    write_mask(here / "corrected" / "00001.png", RED)
    mains = {"adnet.predict": predict.main, "adnet.adapt": adapt.main}
    for name, *words in commands("docs/how_to/correct_and_learn.md")[:3]:
        if not any(word.startswith("checkpoint=") for word in words):
            words.append(f"checkpoint={checkpoint}")
        ended = run(mains[name], *words, "device=cpu", *["steps=10"] * (name == "adnet.adapt"))
        assert ended.code == 0, ended.err
    for folder in ("first", "better", "masks"):
        assert len(list((here / folder / "masks").iterdir())) == 4


def test_the_road_from_an_export_of_cvat_to_better_masks(run: Callable[..., Any], tmp_path: Path) -> None:
    """An export with its images, in which some frames of a video task are annotated by a brush: a crowd in run lengths, a list."""
    root = synthesize(tmp_path / "synthetic", train=1, val=0, frames=6, size=(96, 160))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (shown,) = root.glob("JPEGImages/480p/*")
    frames = [read_frame(path) for path in sorted(shown.iterdir())]
    Path("export/images/default").mkdir(parents=True)
    for number, frame in enumerate(frames):
        name = f"frame_{number:06d}.PNG"
        Image.fromarray(frame).save(f"export/images/default/{name}")
        images.append({"id": number + 1, "file_name": name, "height": 96, "width": 160})
        if number in (0, 2, 5):
            mask = read_mask(root / "Annotations/480p" / shown.name / f"{number:05d}.png")
            counts = [len([*run]) for _, run in groupby(mask.ravel("F"))]
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 1})
            annotations[-1]["segmentation"] = {"counts": counts, "size": [96, 160]}
    write_video(Path("video.mp4"), frames)
    write_json(
        Path("export/annotations/instances_default.json"),
        {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "foreground"}]},
    )
    modules = {name: import_module(name) for name in ("adnet.predict", "adnet.convert", "adnet.adapt", "adnet.score")}
    for name, *words in commands("docs/how_to/correct_and_learn.md")[3:]:
        if name == "adnet.adapt":
            masks = Path("mine/masks/default")
            assert [path.name for path in sorted(masks.iterdir())] == [f"frame_00000{n}.png" for n in (0, 2, 5)]
            Path("corrected").mkdir()
            (masks / "frame_000002.png").rename("corrected/frame_000002.png")
        if name in ("adnet.predict", "adnet.adapt"):
            words += ["size=[97,161]", "device=cpu", *["steps=20"] * (name == "adnet.adapt")]
        ended = run(modules[name].main, *words)
        assert ended.code == 0, ended.err
    before, after = (read_json(Path(f"{name}.json")) for name in ("before", "after"))
    assert before["sequences"]["default"]["frames"] == ["frame_000000", "frame_000005"]
    assert after["mean"]["J"]["mean"] > before["mean"]["J"]["mean"] + 0.1


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name not in ("clip.mp4", "tiny.ckpt", "cwd"))


def test_masks_and_weights_for_other_videos(
    call: Callable[..., Any], run: Callable[..., Any], tmp_path: Path, tiny_model: ADNet
) -> None:
    write_mask(tmp_path / "masks" / "00000.png", RED)
    write_mask(tmp_path / "masks" / "frame_000002.png", RED)  # as other tools number frames
    write_mask(tmp_path / "masks" / "take2_00003.png", RED)
    ended = call("rle=true")
    assert ended.code == 0, ended.err
    assert f"clip: learned 3 masks, 4 frames segmented: {tmp_path / 'out'}" in ended.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks", "predict.json", "rle.json"]
    masks = {path.name: path.read_bytes() for path in (tmp_path / "out" / "masks").iterdir()}
    assert sorted(masks) == [f"0000{number}.png" for number in range(4)]
    network, size = load_checkpoint(tmp_path / "out.ckpt")
    assert size == (33, 57)
    assert not torch.equal(network.head[0].weight, tiny_model.head[0].weight)  # type: ignore[index]

    # `predict` makes the same masks of it.
    ended = run(
        predict.main,
        *(f"input={tmp_path / 'clip.mp4'}", f"checkpoint={tmp_path / 'out.ckpt'}", f"output={tmp_path / 'again'}"),
    )
    assert ended.code == 0, ended.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "again" / "masks").iterdir()} == masks

    # Nothing is overwritten, unless that is what one wants.
    before = (tmp_path / "out.ckpt").read_bytes()
    assert call().err == f"adnet: {tmp_path / 'out.ckpt'} exists; give another output, or overwrite=true\n"
    assert call("steps=20", "overwrite=true").code == 0
    assert (tmp_path / "out.ckpt").read_bytes() != before
    (tmp_path / "out.ckpt").unlink()
    assert call().err == f"adnet: {tmp_path / 'out'} exists; give another output, or overwrite=true\n"


def several(folder: Path) -> None:
    for number in range(21):
        write_mask(folder / f"{number:05d}.png", RED)


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "none": (lambda _: None, "masks={}: no masks there; put the corrected frames' masks there"),
    "no folder": (shutil.rmtree, "masks={}: no masks there; put"),
    "of no frame": (
        lambda folder: write_mask(folder / "00004.png", RED),
        "of no frame of clip, which are called 00000 to 00003",
    ),
    "of a brush": (
        lambda folder: write_mask(folder / "task-2-annotation-7-by-1-tag-Dog-0.png", RED),
        "task-2-annotation-7-by-1-tag-Dog-0.png is of no frame of clip",
    ),
    "a file": (
        lambda folder: (folder.rmdir(), write_mask(folder, RED)),
        "masks={} is a file: give a folder of masks (of COCO, adnet.convert data=coco makes one)",
    ),
    "two of one": (
        lambda folder: [write_mask(folder / name, RED) for name in ("00001.png", "1.png")],
        "are both of frame 00001 of clip: keep one",
    ),
    "two formats": (
        lambda folder: [write_mask(folder / f"00001.{kind}", RED) for kind in ("png", "gif")],
        "are the same frame: keep one of them",
    ),
    "another size": (
        lambda folder: write_mask(folder / "00001.png", RED[:40]),
        "the mask of frame 00001 is 80x40, the frame 80x48: redraw it",
    ),
    "all empty": (lambda folder: write_mask(folder / "00001.png", RED & False), "no mask has foreground"),
    "all frames": (several, "leave only those that you corrected, at most 20; with more, use adnet.train"),
    "no mask": (
        lambda folder: Image.linear_gradient("L").resize((80, 48)).save(folder / "00001.jpg"),
        "is no mask: most of it is neither dark nor bright",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistaken_masks_are_one_line_and_leave_nothing(call: Callable[..., Any], tmp_path: Path, mistake: str) -> None:
    make, line = MISTAKES[mistake]
    make(tmp_path / "masks")
    ended = call()
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert line.format(tmp_path / "masks") in ended.err
    assert left(tmp_path) == ([] if mistake == "no folder" else ["masks"])


def test_mistaken_videos_are_one_line_and_leave_nothing(call: Callable[..., Any], tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "00001.png", RED)
    (tmp_path / "in").mkdir()
    for number, height in enumerate((48, 48, 40)):
        Image.fromarray(pictures(3)[number][:height]).save(tmp_path / "in" / f"{number:05d}.png")
    write_video(tmp_path / "another.mp4", pictures(2))
    for given, line in {
        f"input={tmp_path / 'in'}": "in changes from 80x48 to 80x40 at frame 00002: cut it there, and correct each part alone",
        f"input='{tmp_path}/*.mp4'": "is 2 videos: learn from one, then give others the weights",
        "input=0": "webcam0 can't be read a second time: give a video, or a folder of frames",
    }.items():
        ended = call(given)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
        assert line in ended.err
        assert left(tmp_path) == ["another.mp4", "in", "masks"]


def test_what_can_be_read_of_a_damaged_video_is_segmented(call: Callable[..., Any], tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "0.png", RED)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(pictures(3)):
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "1.png").write_bytes(b"damaged")
    ended = call(f"input={tmp_path / 'in'}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "1 of 3 images can't be read" in ended.err
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["0.png", "2.png"]
