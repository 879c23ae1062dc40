"""Masks of one video, and what may be made of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, tee
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adnet.data.flow import NO_MOTION, Vectors
from adnet.data.flow_folder import FlowFolder
from adnet.data.sequence import Frame, read_frame, read_mask, write_mask
from adnet.errors import UserError
from adnet.extras import need_extra
from adnet.inference.coco import write_coco
from adnet.inference.overlay_video import OverlayVideo
from adnet.inference.pipeline import prefetch, write_behind
from adnet.inference.postprocess import Postprocess, Probability
from adnet.inference.segmenter import VideoSegmenter
from adnet.inference.video import VideoSource
from adnet.inference.video_file import VideoFile, VideoFrame
from adnet.inference.write_png import to_levels, write_png


@dataclass(frozen=True)
class Outputs:
    """What is written into `folder` beside `masks/<frame>.png` (0/255).

    Args:
        folder: of one video.
        probabilities: `probabilities/<frame>.png`, 8-bit round(255 p).
        cutout: `cutouts/<frame>.png`, RGBA; alpha is the mask.
        overlay: `overlay.mp4`.
        rle: `rle.json`, see `adnet.inference.coco`.
    """

    folder: Path
    probabilities: bool = False
    cutout: bool = False
    overlay: bool = False
    rle: bool = False

    def images(self) -> list[Path]:
        """Folders with one file per frame."""
        wanted = {"masks": True, "probabilities": self.probabilities, "cutouts": self.cutout}
        return [self.folder / name for name, want in wanted.items() if want]

    def videos(self) -> list[Path]:
        """Files with all frames in one."""
        return [
            self.folder / name for name, want in {"overlay.mp4": self.overlay, "rle.json": self.rle}.items() if want
        ]

    def complete(self, frames: int) -> bool:
        """Whether all is there for so many frames."""
        counts = [len(list(folder.glob("*.png"))) for folder in self.images()]
        return set(counts) == {frames} and all(path.is_file() for path in self.videos())

    def every(self) -> list[Path]:
        """All that could be written, wanted or not."""
        return [self.folder / name for name in ("masks", "probabilities", "cutouts", "overlay.mp4", "rle.json")]


@dataclass(frozen=True)
class Predicted:
    """`frames` there are, of which `segmented` went through the network now, in `seconds`; `problem` says what can't be read."""

    frames: int
    segmented: int
    seconds: float
    problem: str | None = None


class _Reading:
    """Frames up to the first that can't be had; then `problem` says why. The source is opened here, not by who reads it."""

    def __init__(self, source: VideoSource) -> None:
        self.problem: str | None = None
        self._frames = source.frames()

    def __iter__(self) -> Iterator[VideoFrame]:
        try:
            yield from self._frames
        except UserError as error:
            self.problem = str(error)


def check_extras(sources: Iterable[VideoSource], overlay: bool, rle: bool) -> None:
    """Raise UserError where what reads the sources, or writes what is wanted of them, isn't installed: before hours of work."""
    for source in sources:
        if isinstance(source, VideoFile):
            need_extra("video", "av", f"{source.path}, a video and not images,")
    if overlay:
        need_extra("video", "av", "overlay=true")
    if rle:
        need_extra("video", "pycocotools", "rle=true")


def predict(
    source: VideoSource,
    outputs: Outputs,
    segmenter_for: Callable[[tuple[int, int]], VideoSegmenter],
    postprocess: Postprocess | None = None,
    anchor: str | int | None = None,
    resume: bool = False,
    flow: FlowFolder | None = None,
) -> Predicted:
    """Segment `source` and write `outputs`.

    Args:
        segmenter_for: height and width of the first frame -> the segmenter to use.
        anchor: the number of a frame or the path of an image; None is the first frame.
        resume: keep what is there from an earlier, interrupted call; frames that have their mask are not segmented again, unless
            results depend on the frames before.
        flow: where the frames' optical flow lies, in a folder of the source's name; None: the segmenter computes it.

    A webcam ends with Ctrl-C. Where a video is damaged, what can be read is segmented and `problem` says so. Raises UserError for an
    `anchor` that there isn't, and for a `postprocess` of a webcam, which wants to see the whole video first.
    """
    if source.live and postprocess:
        raise UserError("a postprocess reads the whole video first, and a webcam has no end: give postprocess=none")
    reading, names, segmented, started = _Reading(source), list[str](), 0, time.perf_counter()
    with ExitStack() as stack:
        frames = stack.enter_context(closing(prefetch(reading)))
        if (first := next(frames, None)) is None:
            return Predicted(0, 0, 0, reading.problem or f"{source.name} has no frames")
        segmenter = segmenter_for((first.image.shape[0], first.image.shape[1]))
        flow = flow if segmenter.model.needs_flow else None
        segmenter.start(_anchor(source, anchor, first.image))
        if postprocess:
            postprocess.start(source.name, (frame.image for frame in _Reading(source)))
        keep = resume and not postprocess and not segmenter.protocol.stateful
        known = partial(_is_known, outputs) if keep else lambda frame: False  # noqa: ARG005
        overlay = stack.enter_context(OverlayVideo(outputs.folder / "overlay.mp4")) if outputs.overlay else None
        write = partial(_write, outputs, segmenter.protocol.threshold, overlay)
        put = stack.enter_context(write_behind(write))
        progress = stack.enter_context(
            tqdm(total=source.length(), desc=source.name, unit="frame", leave=False, disable=None)
        )
        with suppress(KeyboardInterrupt) if source.live else nullcontext():
            given = partial(_given_flow, flow, source.name) if flow else None
            results = _results(chain([first], frames), known, segmenter, postprocess, source.live, given)
            for frame, probability in results:
                put(frame, probability)
                names.append(frame.name)
                segmented += probability is not None
                progress.update()
    if outputs.rle:
        write_coco([outputs.folder / "masks" / f"{name}.png" for name in names], outputs.folder / "rle.json")
    problem = reading.problem
    if flow and not problem and (foreign := sorted(flow.found(source.name).keys() - set(names))):
        problem = f"{flow.root}/{source.name} has flow of frames that {source.name} hasn't, first {foreign[0]}"
    return Predicted(len(names), segmented, round(time.perf_counter() - started, 2), problem)


def _results(
    frames: Iterable[VideoFrame],
    known: Callable[[VideoFrame], bool],
    segmenter: VideoSegmenter,
    postprocess: Postprocess | None,
    live: bool,
    given_flow: Callable[[Iterable[VideoFrame]], Iterator[Vectors]] | None,
) -> Iterator[tuple[VideoFrame, Probability | None]]:
    """Each frame with its probability, or None if it is known; frames wait here for the rest of their batch."""
    for is_known, group in groupby(frames, known):
        if is_known:
            for frame in group:
                segmenter.skip(frame.image)
                yield frame, None
            continue
        shown, segmentable = tee(group)
        flows = None
        if given_flow:
            segmentable, moving = tee(segmentable)
            flows = given_flow(moving)
        probabilities = segmenter.steps((frame.image for frame in segmentable), live=live, flows=flows)
        for frame, probability in zip(shown, probabilities, strict=True):
            yield frame, postprocess.step(frame.name, probability) if postprocess else probability


def _given_flow(flow: FlowFolder, video: str, frames: Iterable[VideoFrame]) -> Iterator[Vectors]:
    """The flow of each frame. One frame may be without: the first or the last has no neighbour."""
    without = 0
    for frame in frames:
        vectors = flow.of_frame(video, frame.name, (frame.image.shape[0], frame.image.shape[1]))
        without += vectors is None
        if without > 1:
            raise flow.missing(video, frame.name)
        yield NO_MOTION if vectors is None else vectors


def _is_known(outputs: Outputs, frame: VideoFrame) -> bool:
    """Whether the network isn't needed: all else is made of these."""
    needed = ("masks", "probabilities") if outputs.probabilities else ("masks",)
    return all((outputs.folder / name / f"{frame.name}.png").is_file() for name in needed)


def _write(
    outputs: Outputs,
    threshold: float,
    overlay: OverlayVideo | None,
    frame: VideoFrame,
    probability: Probability | None,
) -> None:
    """What is wanted of one frame. Its mask comes last, so that a frame with a mask has everything."""
    mask_file, probability_file, cutout_file = (
        outputs.folder / name / f"{frame.name}.png" for name in ("masks", "probabilities", "cutouts")
    )
    mask = read_mask(mask_file) if probability is None else np.asarray(probability > threshold)
    if overlay:
        overlay.add(frame.image, mask, frame.time)
    if outputs.cutout and not (probability is None and cutout_file.is_file()):
        write_png(cutout_file, np.dstack([frame.image, mask.astype(np.uint8) * 255]))
    if probability is not None:
        if outputs.probabilities:
            write_png(probability_file, to_levels(probability))
        write_mask(mask_file, mask)


def _anchor(source: VideoSource, anchor: str | int | None, first: Frame) -> Frame:
    if anchor is None or str(anchor) == "0":
        return first
    if not str(anchor).isdecimal():
        return read_frame(Path(str(anchor)))
    if source.live:
        raise UserError(f"anchor={anchor}: a webcam's anchor is its first frame or an image")
    for number, frame in enumerate(_Reading(source)):
        if number == int(anchor):
            return frame.image
    raise UserError(f"anchor={anchor}: {source.name} has no such frame; they are counted from 0")
