from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import ANY

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d
from videos import InstantModel, MotionModel, pictures, write_video

from adnet.data import read_mask
from adnet.data.flow import NO_MOTION, normalised, to_flow_input
from adnet.data.flow_folder import FlowFolder
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter, smoothing
from adnet.inference.output_folder import Shard
from adnet.inference.predict_videos import Outputs, Predicted, check_flow, predict, predict_videos
from adnet.inference.protocol import fitted_size
from adnet.models import Encoded, upsample
from adnet.video.file import VideoFile, VideoFrame
from adnet.video.overlay import draw_overlay
from adnet.video.sources import Images, VideoSource, video_sources

TIMES = [0.0, 0.04, 0.2, 0.5, 1.0, 1.5]
ALL = [f"{index:05d}.png" for index in range(6)]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that networks see batches in order."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.fixture
def model() -> InstantModel:
    return InstantModel()


@pytest.fixture
def clip(tmp_path: Path) -> VideoFile:
    return VideoFile("clip", write_video(tmp_path / "clip.mp4", pictures(6), TIMES))


def call(
    model: InstantModel, source: VideoSource, outputs: Outputs, protocol: Protocol | None = None, **rest: Any
) -> Predicted:
    def segmenter(frame_size: tuple[int, int]) -> VideoSegmenter:
        return VideoSegmenter(model, protocol or Protocol("test"), fitted_size((33, 57), frame_size), batch_size=2)

    return predict(source, outputs, segmenter, **rest)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_output(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out", probabilities=True, cutout=True, overlay=True, rle=True)
    assert not outputs.complete(6)
    done = call(model, clip, outputs)
    assert (done.frames, done.segmented, done.problem) == (6, 6, None)
    assert outputs.complete(6)
    assert not outputs.complete(7)
    assert sorted(files(outputs.folder)) == sorted(
        [
            "overlay.mp4",
            "rle.json",
            *(f"{kind}/{name}" for kind in ("masks", "probabilities", "cutouts") for name in ALL),
        ]
    )
    frames = [frame.image for frame in clip.frames()]
    expected = list(VideoSegmenter(InstantModel(), Protocol("test"), (33, 57)).segment(frames))
    drawn = list(VideoFile("overlay", outputs.folder / "overlay.mp4").frames())
    np.testing.assert_allclose([frame.time for frame in drawn], TIMES, atol=2e-5)
    for name, frame, probability, overlay in zip(ALL, frames, expected, drawn, strict=True):
        mask = read_mask(outputs.folder / "masks" / name)
        np.testing.assert_array_equal(mask, probability > 0.5)
        assert 0 < mask.mean() < 1
        levels = np.asarray(Image.open(outputs.folder / "probabilities" / name))
        np.testing.assert_allclose(levels, 255 * probability, atol=0.51)
        with Image.open(outputs.folder / "cutouts" / name) as cutout:
            assert cutout.mode == "RGBA"
            np.testing.assert_array_equal(cutout, np.dstack([frame, 255 * mask.astype(np.uint8)]))
        assert np.abs(overlay.image.astype(int) - draw_overlay(frame, mask)).mean() < 6


@pytest.mark.parametrize("size", [(1, 80), (48, 1), (16, 16390), (16390, 16)])
def test_frames_that_h264_has_not_get_masks_and_no_overlay(
    model: InstantModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, size: tuple[int, int]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        Image.new("L", size[::-1]).save(tmp_path / "in" / f"{number}.png")
    [source] = video_sources(str(tmp_path / "in"), 24)
    outputs = Outputs(tmp_path / "out", overlay=True)
    assert call(model, source, outputs).segmented == 2
    assert sorted(files(outputs.folder)) == ["masks/0.png", "masks/1.png"]
    assert caplog.messages == ["in: no overlay: H.264 has sides of 2 to 16384 pixels"]


class Interrupting(InstantModel):
    """Is stopped after so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def segment(self, *embeddings: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return super().segment(*embeddings)


def test_an_interrupted_one_is_finished(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    whole = Outputs(tmp_path / "whole", overlay=True, rle=True)
    call(model, clip, whole)
    outputs = Outputs(tmp_path / "cut", overlay=True, rle=True)
    with pytest.raises(KeyboardInterrupt):
        call(Interrupting(1), clip, outputs)
    assert sorted(files(outputs.folder)) == ["masks/00000.png", "masks/00001.png"]
    model.batches.clear()
    done = call(model, clip, outputs, resume=True)
    assert (done.frames, done.segmented) == (6, 4)
    assert model.batches == [1, 2, 2]  # the anchor, and what was left
    assert files(outputs.folder) == files(whole.folder)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_an_interrupted_average_over_time_is_finished(
    model: InstantModel, clip: VideoFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    """By segmenting some frames before the first one that is missing again; their masks stay."""
    monkeypatch.setattr(smoothing, "BLOCK", 3)
    monkeypatch.setattr(smoothing, "WARM_UP", 1)
    protocol = Protocol("test", smooth=True)
    whole, outputs = (Outputs(tmp_path / name, probabilities=True) for name in ("whole", "cut"))
    call(model, clip, whole, protocol)
    if batches < 3:
        with pytest.raises(KeyboardInterrupt):
            call(Interrupting(batches), clip, outputs, protocol)
    else:
        call(model, clip, outputs, protocol)
    model.batches.clear()
    assert call(model, clip, outputs, protocol, resume=True).segmented == 6 - 2 * batches
    assert sum(model.batches[1:]) == {1: 6, 2: 4, 3: 0}[batches]
    assert files(outputs.folder) == files(whole.folder)


@pytest.mark.parametrize("gone", range(6))
@pytest.mark.parametrize("images", [False, True])
def test_an_average_over_time_whose_mask_was_deleted_is_finished(
    model: InstantModel, clip: VideoFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int, images: bool
) -> None:
    """By the frames before it: what comes later says nothing about it."""
    monkeypatch.setattr(smoothing, "BLOCK", 3)
    monkeypatch.setattr(smoothing, "WARM_UP", 1)
    source: VideoSource = clip
    if images:
        (tmp_path / "images").mkdir()
        for number, frame in enumerate(clip.frames(), start=5):
            Image.fromarray(frame.image).save(tmp_path / "images" / f"{3 * number}.png")
        [source] = video_sources(str(tmp_path / "images"))
    protocol = Protocol("test", smooth=True)
    whole, outputs = (Outputs(tmp_path / name, probabilities=True) for name in ("whole", "cut"))
    for one in (whole, outputs):
        call(model, source, one, protocol)
    sorted(outputs.folder.glob("masks/*"))[gone].unlink()
    assert call(model, source, outputs, protocol, resume=True).segmented == 1
    assert files(outputs.folder) == files(whole.folder)


def test_more_outputs_later_need_no_network(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    call(model, clip, Outputs(tmp_path / "out"))
    more = Outputs(tmp_path / "out", cutout=True, overlay=True)
    assert call(model, clip, more, resume=True).segmented == 0
    assert more.complete(6)
    # Probabilities do.
    assert call(model, clip, Outputs(tmp_path / "out", probabilities=True), resume=True).segmented == 6


def test_results_that_depend_on_the_frames_before_start_anew(
    model: InstantModel, clip: VideoFile, tmp_path: Path
) -> None:
    protocol = Protocol("test", average="logits", gate=True)
    outputs = Outputs(tmp_path / "out")
    call(model, clip, outputs, protocol)
    (outputs.folder / "masks" / ALL[5]).unlink()
    assert call(model, clip, outputs, protocol, resume=True).segmented == 6


class Interrupted(InstantModel):
    """Is stopped at the fourth frame, while the third is not done."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = threading.Event()

    def encode(self, frames: torch.Tensor, flow: torch.Tensor | None = None) -> Encoded:
        number = round(float(frames[0, 2].amin()) * 255 / 5)  # the clip's grey
        if number == 3:
            self.stopped.set()
            raise KeyboardInterrupt
        assert number != 2 or self.stopped.wait(30)
        return super().encode(frames, flow)


def test_ctrl_c_while_two_frames_are_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mask is its own frame's, and no thread is left."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for index, image in enumerate(pictures(6)):
        Image.fromarray(image).save(tmp_path / f"{index:05d}.png")
    clip = video_sources(str(tmp_path))[0]
    with pytest.raises(KeyboardInterrupt):
        predict(clip, Outputs(tmp_path / "cut"), lambda _: VideoSegmenter(Interrupted(), Protocol("test"), (33, 57)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("adnet")]
    predict(clip, Outputs(tmp_path / "whole"), lambda _: VideoSegmenter(InstantModel(), Protocol("test"), (33, 57)))
    cut, whole = files(tmp_path / "cut"), files(tmp_path / "whole")
    assert sorted(cut) == [f"masks/{name}" for name in ALL[:3]]
    assert len(set(whole.values())) == 6
    assert cut == {name: whole[name] for name in cut}


class Postprocess:
    def start(self, video: str, frames: Iterator[np.ndarray]) -> None:
        self.seen = (video, [frame.shape for frame in frames])
        self.names: list[str] = []

    def step(self, frame: str, probability: np.ndarray) -> np.ndarray:
        self.names.append(frame)
        return np.zeros_like(probability)


def test_postprocess(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    postprocess = Postprocess()
    call(model, clip, Outputs(tmp_path / "out"), postprocess=postprocess)
    assert postprocess.seen == ("clip", [(48, 80, 3)] * 6)
    assert [f"{name}.png" for name in postprocess.names] == ALL
    assert not any(read_mask(tmp_path / "out" / "masks" / name).any() for name in ALL)


def test_anchors(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    white = np.full((48, 80, 3), 255, np.uint8)
    Image.fromarray(white).save(tmp_path / "white.png")
    shares = {}
    for anchor in (None, 0, 5, str(tmp_path / "white.png")):
        call(model, clip, Outputs(tmp_path / f"out{len(shares)}"), anchor=anchor)
        shares[anchor] = np.mean([read_mask(tmp_path / f"out{len(shares)}" / "masks" / name).mean() for name in ALL])
    # Foreground is what is brighter than the anchor.
    assert shares[None] == shares[0] > shares[5] > shares[str(tmp_path / "white.png")]
    with pytest.raises(UserError, match="anchor=6: clip has no such frame"):
        call(model, clip, Outputs(tmp_path / "none"), anchor=6)


def test_frames_whose_size_changes_and_portrait_ones(model: InstantModel, tmp_path: Path) -> None:
    sizes = [(48, 80), (80, 48), (31, 33), (48, 80)]
    for index, size in enumerate(sizes):
        Image.fromarray(pictures(1, size)[0]).save(tmp_path / f"{index}.png")
    source = Images("mixed", tuple(tmp_path / f"{index}.png" for index in range(4)), fps=24)
    outputs = Outputs(tmp_path / "out", cutout=True, overlay=True)
    assert call(model, source, outputs).frames == 4
    assert [read_mask(outputs.folder / "masks" / f"{index}.png").shape for index in range(4)] == sizes


def test_a_damaged_video(model: InstantModel, tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", list(np.random.default_rng(0).integers(0, 256, (50, 48, 80, 3), np.uint8))
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    outputs = Outputs(tmp_path / "out", overlay=True, rle=True)
    done = call(model, VideoFile("clip", path), outputs)
    assert done.problem is not None
    assert "are missing" in done.problem
    assert 10 < done.frames < 50
    assert outputs.complete(done.frames)
    path.write_bytes(b"")
    nothing = call(model, VideoFile("clip", path), Outputs(tmp_path / "nothing"))
    assert (nothing.frames, nothing.problem) == (
        0,
        f"cannot read the video {path}: Invalid data found when processing input",
    )
    assert not (tmp_path / "nothing").exists()


class Endless:
    name, live = "webcam0", True

    def length(self) -> None: ...

    def content(self) -> None: ...

    def frames(self) -> Iterator[VideoFrame]:
        for index in range(1000):
            yield VideoFrame(f"{index:05d}", pictures(1)[0], index / 25)


def test_a_webcam_ends_with_ctrl_c(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "out", overlay=True, rle=True)
    done = call(Interrupting(3), Endless(), outputs)
    assert (done.frames, done.problem) == (6, None)
    assert outputs.complete(6)
    with pytest.raises(UserError, match="give postprocess=none"):
        call(InstantModel(), Endless(), outputs, postprocess=Postprocess())
    with pytest.raises(UserError, match="a webcam's anchor"):
        call(InstantModel(), Endless(), outputs, anchor=3)


def test_a_full_disk_is_an_error(
    model: InstantModel, clip: VideoFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("adnet.inference.predict_videos.write_mask", full)
    with pytest.raises(OSError, match="No space left"):
        call(model, clip, Outputs(tmp_path / "out", overlay=True))
    assert not (tmp_path / "out" / "overlay.mp4").exists()


def test_a_source_is_found_by_its_path(model: InstantModel, clip: VideoFile, tmp_path: Path) -> None:
    assert video_sources(str(clip.path)) == [clip]
    assert call(model, clip, Outputs(tmp_path / "out")).frames == 6


def flow_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (48, 80, 2)).astype(np.float32)


def test_flow_that_others_computed(clip: VideoFile, tmp_path: Path) -> None:
    (tmp_path / "flow" / "clip").mkdir(parents=True)
    for index in range(1, 6):
        cv2.writeOpticalFlow(str(tmp_path / "flow" / "clip" / f"{index:05d}.flo"), flow_of(index))
    model, folder, outputs = MotionModel(), FlowFolder(tmp_path / "flow", camera=False), Outputs(tmp_path / "out")

    def given(frame: VideoFrame) -> Any:
        return folder.of_frame("clip", frame.name, frame.image.shape[:2])

    assert call(model, clip, outputs, flow_of=given) == replace(
        call(model, clip, outputs, flow_of=given, resume=True), segmented=6, seconds=ANY
    )
    size = model.flows[0].shape[1:]
    expected = [NO_MOTION, *(normalised(flow_of(index)) for index in range(1, 6))]
    for got, vectors in zip(model.flows, expected, strict=True):
        torch.testing.assert_close(got, upsample(to_flow_input(vectors)[None], tuple(size))[0])

    # What was segmented already is passed over, and a frame's flow is its own wherever one goes on.
    (tmp_path / "out" / "masks" / ALL[3]).unlink()
    model.flows.clear()
    assert call(model, clip, outputs, flow_of=given, resume=True).segmented == 1
    torch.testing.assert_close(model.flows[0], upsample(to_flow_input(expected[3])[None], tuple(size))[0])

    cv2.writeOpticalFlow(str(tmp_path / "flow" / "clip" / "00005.flo"), flow_of(5)[:40])
    with pytest.raises(UserError, match=r"00005\.flo is 80x40 and its frame 80x48"):
        call(model, clip, outputs, flow_of=given)


@pytest.mark.parametrize(("to", "optional"), [("previous", 0), ("next", 5)])
def test_only_the_frame_without_a_neighbour_may_be_without_flow(
    clip: VideoFile, tmp_path: Path, to: Literal["previous", "next"], optional: int
) -> None:
    flow, folder = FlowFolder(tmp_path / "flow", to), tmp_path / "flow" / "clip"
    folder.mkdir(parents=True)
    files = [folder / f"{index:05d}.flo" for index in range(7)]
    for file in files[:6]:
        file.touch()
    check_flow(flow, clip)
    for index, file in enumerate(files[:6]):
        file.unlink()
        expected = (
            nullcontext() if index == optional else pytest.raises(UserError, match=f"flow of frame {file.stem} in")
        )
        with expected:
            check_flow(flow, clip)
        file.touch()
    files[6].touch()
    with pytest.raises(
        UserError, match="has flow of 7 frames, including 00006, which is not among the 6 frames of clip"
    ):
        check_flow(flow, clip)
    clip.path.write_bytes(
        clip.path.read_bytes()[: clip.path.stat().st_size // 2]
    )  # of a damaged video, one may have more
    check_flow(flow, clip)
    with pytest.raises(UserError, match="webcam0: flow=folder has no optical flow of a webcam"):
        check_flow(flow, Endless())


@pytest.mark.parametrize("gone", [[0], [1], [0, 1], [0, 3], [5]])
def test_a_resumed_one_has_the_flow_of_an_uninterrupted_one(clip: VideoFile, tmp_path: Path, gone: list[int]) -> None:
    """The flow of the first frame comes from the second."""
    outputs = Outputs(tmp_path / "out", probabilities=True)
    call(SpreadMotionModel(), clip, outputs)
    whole = files(outputs.folder)
    for index in gone:
        (outputs.folder / "masks" / ALL[index]).unlink()
    again = call(SpreadMotionModel(), clip, outputs, resume=True)
    assert again.segmented == len(gone)
    assert files(outputs.folder) == whole


def test_the_network_sees_the_picture_that_players_show(tmp_path: Path) -> None:
    """Of a video whose pixels are wider than high; masks and the overlay have its own."""

    class Wide(Images):
        def frames(self) -> Iterator[VideoFrame]:
            yield from (frame._replace(pixel_aspect=1.5, time=3 + frame.time) for frame in super().frames())

    def segmenter(frame_size: tuple[int, int]) -> VideoSegmenter:
        return VideoSegmenter(model, Protocol("test"), fitted_size((33, 57), frame_size), flow=flow)

    def flow(frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        seen.append((frame.shape, neighbour.shape))
        return NO_MOTION

    seen: list[Any] = []
    model, outputs = MotionModel(), Outputs(tmp_path / "out", overlay=True)
    for index, image in enumerate(pictures(2)):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    predict(Wide("wide", (tmp_path / "0.png", tmp_path / "1.png"), fps=1), outputs, segmenter)
    assert model.flows[0].shape[1:] == fitted_size((33, 57), (48, 120))
    assert seen == [((48, 120, 3),) * 2] * 2
    assert read_mask(outputs.folder / "masks/0.png").shape == (48, 80)
    drawn = list(VideoFile("overlay", outputs.folder / "overlay.mp4").frames())
    assert [(frame.time, frame.shown_size) for frame in drawn] == [(3, (48, 120)), (4, (48, 120))]
    assert drawn[-1].duration == pytest.approx(1, abs=1e-3)


class Counted:
    """A source that counts how many of its frames are alive."""

    name = "counted"

    def __init__(self, number: int, live: bool = False) -> None:
        self.number, self.live, self.alive, self.most = number, live, 0, 0
        self._lock = threading.Lock()

    def length(self) -> int:
        return self.number

    def content(self) -> None: ...

    def frames(self) -> Iterator[VideoFrame]:
        for index in range(self.number):
            image = np.full((24, 32, 3), index % 256, np.uint8)
            weakref.finalize(image, self._add, -1)
            self._add(1)
            yield VideoFrame(f"{index:05d}", image, index / 25)

    def _add(self, number: int) -> None:
        with self._lock:
            self.alive += number
            self.most = max(self.most, self.alive)


@pytest.mark.parametrize("way", ["plain", "motion", "postprocess", "flow_folder", "resumed", "live"])
def test_the_frames_in_memory_are_few(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are read ahead (2 x 2), in a batch (2) or written behind (8), and some in passing."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    source, outputs = Counted(300, live=way == "live"), Outputs(tmp_path / "out")
    model, rest = MotionModel() if way in ("motion", "flow_folder") else InstantModel(), dict[str, Any]()
    if way == "postprocess":
        rest["postprocess"] = Postprocess()
    elif way == "flow_folder":
        (tmp_path / "flow" / "counted").mkdir(parents=True)
        for index in range(1, 300):
            file = tmp_path / "flow" / "counted" / f"{index:05d}.flo"
            cv2.writeOpticalFlow(str(file), np.zeros((24, 32, 2), np.float32))
        folder = FlowFolder(tmp_path / "flow", camera=False)
        check_flow(folder, source)
        rest["flow_of"] = lambda frame: folder.of_frame("counted", frame.name, frame.image.shape[:2])
    elif way == "resumed":
        call(model, source, outputs)
        for index in (*range(50), *range(100, 250)):
            (outputs.folder / "masks" / f"{index:05d}.png").unlink()
        source, rest["resume"] = Counted(300), True
    done = call(model, source, outputs, **rest)
    assert (done.frames, done.segmented) == (300, 200 if way == "resumed" else 300)
    assert source.most < 20


def test_the_frames_in_a_shard_s_memory_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    sources = [Counted(100), Counted(100)]
    sources[1].name = "another"
    results = predict_videos(sources, tmp_path / "out", InstantModel(), Protocol("test"), (33, 57), shard=Shard(1, 2))
    assert [(folder.name, done.frames) for folder, done in results] == [("another", 100)]
    assert sources[0].most == 0
    assert sources[1].most < 20


class SpreadMotionModel(MotionModel):
    """Its probabilities tell the horizontal flow."""

    def segment(self, anchor_embedding: torch.Tensor, frame: Encoded) -> torch.Tensor:
        assert frame.motion is not None
        return adaptive_avg_pool2d(frame.motion[:, :1], anchor_embedding.shape[2:])
