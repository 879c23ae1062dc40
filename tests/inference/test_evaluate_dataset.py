from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from threading import current_thread
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from videos import InstantModel, MotionModel

from adnet.data import davis2016, folder, read_frame, read_mask
from adnet.data.flow import OpticalFlow, SequenceFlow, to_flow_input
from adnet.data.flow_folder import FlowFolder
from adnet.data.pairs import ValidationPairs
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter, evaluate, predict_videos
from adnet.metrics import score_dataset
from adnet.models import ADNet, upsample
from adnet.models.adnet import no_motion
from adnet.video import sources


@pytest.fixture
def segmenter() -> VideoSegmenter:
    return VideoSegmenter(InstantModel(), Protocol("test"), (33, 57))


def masks(output: Path) -> list[str]:
    return sorted(str(path.relative_to(output / "masks")) for path in (output / "masks").rglob("*") if path.is_file())


ALL = [f"val-{s:03d}/{t:05d}.png" for s in range(2) for t in range(4)]


def test_files_and_scores(tiny_davis: Path, tiny_model: ADNet, tmp_path: Path) -> None:
    segmenter = VideoSegmenter(tiny_model, Protocol("test"), (33, 57))
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    segmenter.start(read_frame(dataset.sequences[0].frames[0]))
    threshold = float(np.median(segmenter.step(read_frame(dataset.sequences[0].frames[1]))))
    segmenter = VideoSegmenter(segmenter.model, Protocol("test", threshold=threshold), (33, 57))
    scores = evaluate(segmenter, dataset, output)
    assert sorted(path.name for path in output.iterdir()) == ["evaluation.json", "masks", "scores.json"]
    assert masks(output) == ALL
    with Image.open(output / "masks" / ALL[1]) as image:
        assert (image.mode, image.size) == ("L", (112, 64))
        assert set(np.unique(np.asarray(image))) == {0, 255}

    sequence = dataset.sequences[1]
    segmenter.start(read_frame(sequence.frames[0]))
    expected = segmenter.step(read_frame(sequence.frames[2])) > threshold
    np.testing.assert_array_equal(read_mask(output / "masks" / "val-001" / "00002.png"), expected)

    assert scores == score_dataset(dataset, output / "masks", workers=1, protocol="test")
    assert json.loads((output / "scores.json").read_text()) == scores
    assert {"dataset", "split", "protocol", "mean", "sequences"} <= set(scores)
    described = json.loads((output / "evaluation.json").read_text())
    assert (described["dataset"], described["split"], described["root"]) == ("davis2016", "val", str(tiny_davis))
    assert (described["protocol"]["name"], described["frames"], described["checkpoint"]) == ("test", 8, None)
    assert described["precision"] == "fp32"


def test_frames_are_read_ahead_and_masks_written_behind(
    tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a thread of its own, beside the one that has the network."""
    threads: dict[str, set[str]] = {"read": set(), "write": set()}
    read, write = sources.read_frames, predict_videos.write_mask

    def watched(name: str, call: Any) -> Any:
        def watch(*arguments: Any) -> Any:
            threads[name].add(current_thread().name)
            return call(*arguments)

        return watch

    dataset = davis2016(tiny_davis)
    monkeypatch.setattr(sources, "read_frames", watched("read", read))
    monkeypatch.setattr(predict_videos, "write_mask", watched("write", write))
    evaluate(segmenter, dataset, tmp_path / "out")
    assert threads["read"] == {"MainThread", "adnet-read_0"}  # the anchor has to be there first
    assert threads["write"] == {"adnet-write_0"}


def test_half_an_evaluation_is_finished(
    tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    scores = evaluate(segmenter, dataset, output)
    deleted = [output / "masks" / ALL[index] for index in (1, 2)]
    kept = {path: path.stat().st_mtime_ns for path in (output / "masks").rglob("*.png") if path not in deleted}
    contents = [path.read_bytes() for path in deleted]
    for path in deleted:
        path.unlink()
    embedded = 0
    embed = segmenter.model.embed

    def counted(images: torch.Tensor) -> torch.Tensor:
        nonlocal embedded
        embedded += 1
        return embed(images)

    monkeypatch.setattr(segmenter.model, "embed", counted)
    assert evaluate(segmenter, dataset, output) == scores
    assert embedded == 3  # the anchor and two frames; the other sequence is whole
    assert [path.read_bytes() for path in deleted] == contents
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert json.loads((output / "evaluation.json").read_text())["frames"] == 2


def test_cut_off_evaluation_goes_on(
    tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    segment, number = segmenter.model.segment, 0

    def limited(*embeddings: torch.Tensor) -> torch.Tensor:
        nonlocal number
        number += 1
        if number == 4:
            raise KeyboardInterrupt
        return segment(*embeddings)

    monkeypatch.setattr(segmenter.model, "segment", limited)
    with pytest.raises(KeyboardInterrupt):
        evaluate(segmenter, dataset, output)
    assert masks(output) == ALL[:3]
    assert not (output / "scores.json").exists()
    monkeypatch.undo()
    evaluate(segmenter, dataset, output)
    assert masks(output) == ALL
    assert (output / "scores.json").is_file()


@pytest.mark.parametrize(
    "change",
    ["protocol", "size", "split", "checkpoint", "backend", "postprocess", "files_sha256", "JPEGImages", "Annotations"],
)
def test_another_evaluation_s_folder_is_refused(
    tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path, change: str
) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    evaluate(segmenter, dataset, output)
    before = (output / "evaluation.json").read_bytes()
    options: dict[str, Any] = {}
    if change == "protocol":
        segmenter = VideoSegmenter(segmenter.model, Protocol("test", mirror=True), (33, 57))
    elif change == "size":
        segmenter = VideoSegmenter(segmenter.model, Protocol("test"), (33, 65))
    elif change == "split":
        dataset = davis2016(tiny_davis, "train")
    elif change in ("JPEGImages", "Annotations"):
        file = next((tiny_davis / change / "480p" / "val-001").iterdir())
        file.write_bytes(file.read_bytes() + b"1")
    elif change in ("backend", "postprocess", "files_sha256"):
        options["settings"] = {change: "another"}
    else:
        options["checkpoint"] = tmp_path / "last.ckpt"
        options["checkpoint"].write_bytes(b"weights")
    with pytest.raises(UserError, match="holds another evaluation; give another output, or overwrite=true"):
        evaluate(segmenter, dataset, output, **options)
    assert (output / "evaluation.json").read_bytes() == before
    evaluate(segmenter, dataset, output, overwrite=True, **options)
    assert (output / "evaluation.json").read_bytes() != before


def test_folder_of_something_else_is_refused(tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("chapter 1")
    with pytest.raises(UserError, match="is not empty and holds no evaluation"):
        evaluate(segmenter, davis2016(tiny_davis), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_folder_from_before_there_were_backends(tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    scores = evaluate(segmenter, dataset, output)
    marker = json.loads((output / "evaluation.json").read_text())
    del marker["backend"], marker["postprocess"]
    (output / "evaluation.json").write_text(json.dumps(marker))
    assert evaluate(segmenter, dataset, output) == scores


def test_overwritten_and_cut_off_keeps_nothing_of_the_other(
    tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    evaluate(VideoSegmenter(segmenter.model, Protocol("test", threshold=0.9), (33, 57)), dataset, output)
    other = (output / "masks" / ALL[5]).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(segmenter.model, "segment", None)
        with pytest.raises(TypeError):
            evaluate(segmenter, dataset, output, overwrite=True)
    evaluate(segmenter, dataset, output)
    assert json.loads((output / "evaluation.json").read_text())["frames"] == 8
    assert (output / "masks" / ALL[5]).read_bytes() != other


def test_probabilities_are_written_and_scored(tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path) -> None:
    dataset, output = davis2016(tiny_davis), tmp_path / "out"
    assert "saliency" not in evaluate(segmenter, dataset, output)
    scores = evaluate(segmenter, dataset, output, probabilities=True)  # the same evaluation, gone on with
    sequence = dataset.sequences[0]
    expected = list(segmenter.segment(map(read_frame, sequence.frames)))[2]
    written = np.asarray(Image.open(output / "probabilities" / sequence.name / "00002.png"))
    assert written.dtype == np.uint8
    np.testing.assert_allclose(written, 255 * expected, atol=0.5 + 1e-3)
    pixels, truth = [], []
    for name in ALL:
        if Path(name).stem in ("00001", "00002"):
            pixels.append(np.asarray(Image.open(output / "probabilities" / name)) / 255)
            truth.append(read_mask(tiny_davis / "Annotations" / "480p" / name))
    error = np.abs(np.array(pixels) - np.array(truth)).mean()
    assert scores["saliency"]["pooled"]["MAE"] == pytest.approx(error)


class Halving:
    """A postprocess that shows what it was called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, video: str, frames: Iterable[np.ndarray]) -> None:
        self.calls.append(f"{video} of {len(list(frames))}")

    def step(self, frame: str, probability: np.ndarray) -> np.ndarray:
        self.calls.append(frame)
        return probability / 2


def test_postprocess_sees_whole_videos(tiny_davis: Path, segmenter: VideoSegmenter, tmp_path: Path) -> None:
    dataset, output, postprocess = davis2016(tiny_davis), tmp_path / "out", Halving()
    options: dict[str, Any] = {
        "postprocess": postprocess,
        "settings": {"postprocess": "halving"},
        "probabilities": True,
    }
    evaluate(segmenter, dataset, output, **options)
    names = ["00000", "00001", "00002", "00003"]
    assert postprocess.calls == ["val-000 of 4", *names, "val-001 of 4", *names]
    assert json.loads((output / "evaluation.json").read_text())["postprocess"] == "halving"
    assert np.asarray(Image.open(output / "probabilities" / ALL[0])).max() <= 128
    assert not read_mask(output / "masks" / ALL[0]).any()
    (output / "masks" / ALL[6]).unlink()
    postprocess.calls.clear()
    evaluate(segmenter, dataset, output, **options)
    assert postprocess.calls == ["val-001 of 4", *names]


def test_flow_comes_from_where_it_is_told(tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a mask is missing: a frame knows its own flow."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # so that the network sees batches in order
    dataset, model = davis2016(tiny_davis), MotionModel()
    for sequence in dataset.sequences:
        (tmp_path / "flow" / sequence.name).mkdir(parents=True)
        for index, frame in enumerate(sequence.frames[1:]):
            flow = np.random.default_rng(index).normal(0, 3, (64, 112, 2)).astype(np.float32)
            cv2.writeOpticalFlow(str(tmp_path / "flow" / sequence.name / f"{frame.stem}.flo"), flow)
    flow = SequenceFlow(FlowFolder(tmp_path / "flow"), tmp_path / "cache")
    segmenter = VideoSegmenter(model, Protocol("test"), (33, 57), 3)
    evaluate(segmenter, dataset, tmp_path / "out", flow=flow)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 6
    expected = [to_flow_input(flow(sequence, index))[None] for sequence in dataset.sequences for index in range(4)]
    torch.testing.assert_close(torch.stack(model.flows), torch.cat([upsample(one, (33, 57)) for one in expected]))
    model.flows.clear()
    (tmp_path / "out" / "masks" / ALL[6]).unlink()
    evaluate(segmenter, dataset, tmp_path / "out", flow=flow)
    torch.testing.assert_close(torch.stack(model.flows), torch.cat([upsample(one, (33, 57)) for one in expected[6:7]]))
    changed = tmp_path / "flow" / "val-000" / "00002.flo"
    changed.write_bytes((changed.parent / "00003.flo").read_bytes())
    with pytest.raises(UserError, match="holds another evaluation"):
        evaluate(segmenter, dataset, tmp_path / "out", flow=flow)
    (tmp_path / "flow" / "val-001").rename(tmp_path / "flow" / "val-1")
    with pytest.raises(UserError, match=r"no folder .*val-001 with the optical flow of val-001"):
        evaluate(segmenter, dataset, tmp_path / "new", flow=flow)
    assert not (tmp_path / "new").exists()


def test_an_evaluation_is_that_of_its_flow_whoever_computes_it(tiny_davis: Path, tmp_path: Path) -> None:
    segmenter = VideoSegmenter(MotionModel(), Protocol("test"), (33, 57))
    dataset, flow = davis2016(tiny_davis), SequenceFlow(OpticalFlow())
    scores = evaluate(segmenter, dataset, tmp_path / "out")
    assert evaluate(segmenter, dataset, tmp_path / "out", flow=flow) == scores
    with pytest.raises(UserError, match="holds another evaluation"):
        evaluate(segmenter, dataset, tmp_path / "out", flow=SequenceFlow(OpticalFlow(height=120)))


def test_a_data_set_of_single_frames_is_segmented_by_appearance(tiny_davis: Path, tmp_path: Path) -> None:
    for index, frame in enumerate(davis2016(tiny_davis).sequences[0].frames):
        for kind, path in (("frames", frame), ("masks", davis2016(tiny_davis).sequences[0].annotations[frame.stem])):
            target = tmp_path / "stills" / kind / str(index) / path.name
            target.parent.mkdir(parents=True)
            target.write_bytes(path.read_bytes())
    dataset, model = folder(tmp_path / "stills"), MotionModel()
    assert [len(sequence.frames) for sequence in dataset.sequences] == [1, 1, 1, 1]
    segmenter = VideoSegmenter(model, Protocol("test"), (33, 57))
    scores = evaluate(segmenter, dataset, tmp_path / "out", flow=SequenceFlow(OpticalFlow(), tmp_path / "cache"))
    assert len(masks(tmp_path / "out")) == 4
    assert 0 <= scores["mean"]["J"]["mean"] <= 1
    flows = torch.stack(model.flows)
    torch.testing.assert_close(flows, no_motion(flows))
    assert len(ValidationPairs(dataset, 2)) == 4
