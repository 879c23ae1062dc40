"""Masks of videos, and what may be made of them.

for folder, result in predict_videos(video_sources("mine.mp4"), Path("output"), model, protocol, size):
    print(folder, result.frames)     # output/masks/<frame>.png
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, groupby, tee
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from adnet.backends.load import checkpoint_sha256
from adnet.data.flow import NO_MOTION, FlowMethod, FrameFlow, OpticalFlow, Vectors
from adnet.data.flow_folder import FlowFolder
from adnet.data.sequence import Frame, Probability, read_frame, read_mask, write_mask
from adnet.errors import UserError
from adnet.inference.output_folder import Shard, claimed, describe_flow, removed_after_user_error
from adnet.inference.postprocess import Postprocess
from adnet.inference.protocol import Protocol, fitted_size
from adnet.inference.segmenter import VideoSegmenter
from adnet.models.segmentation_model import SegmentationModel
from adnet.shared.extras import need_extra
from adnet.shared.files import read_json, write_json
from adnet.video.coco import write_coco
from adnet.video.file import VideoFile, VideoFrame
from adnet.video.overlay import OverlayVideo
from adnet.video.png import is_whole_png, to_levels, write_png
from adnet.video.sources import VideoSource
from adnet.video.threads import prefetch, write_behind


@dataclass(frozen=True)
class Outputs:
    """What is written into `folder` beside `masks/<frame>.png` (0/255).

    Args:
        folder: of one video.
        probabilities: `probabilities/<frame>.png`, 8-bit round(255 p).
        cutout: `cutouts/<frame>.png`, RGBA; alpha is the mask.
        overlay: `overlay.mp4`.
        rle: `rle.json`, see `adnet.video.coco`.
    """

    folder: Path
    probabilities: bool = False
    cutout: bool = False
    overlay: bool = False
    rle: bool = False

    def images(self) -> list[Path]:
        """List the folders that get one file per frame."""
        wanted = {"masks": True, "probabilities": self.probabilities, "cutouts": self.cutout}
        return [self.folder / name for name, want in wanted.items() if want]

    def videos(self) -> list[Path]:
        """List the files that hold all frames."""
        return [
            self.folder / name for name, want in {"overlay.mp4": self.overlay, "rle.json": self.rle}.items() if want
        ]

    def complete(self, frames: int) -> bool:
        """Return whether everything exists for that many frames, and no image was cut off."""
        counts = [sum(map(is_whole_png, folder.glob("*.png"))) for folder in self.images()]
        return set(counts) == {frames} and all(path.is_file() for path in self.videos())

    def every(self) -> list[Path]:
        """List everything that could be written, wanted or not."""
        return [self.folder / name for name in ("masks", "probabilities", "cutouts", "overlay.mp4", "rle.json")]


@dataclass(frozen=True)
class Predicted:
    """What became of a video: `frames` in total, `segmented` in this call, in `seconds`; `problem` says what can't be read."""

    frames: int
    segmented: int
    seconds: float
    problem: str | None = None


class _Reading:
    """Yield frames up to the first that cannot be read; `problem` then says why. The source is opened here, in the caller's thread."""

    def __init__(self, source: VideoSource) -> None:
        self.problem: str | None = None
        self._frames = source.frames()

    def __iter__(self) -> Iterator[VideoFrame]:
        try:
            yield from self._frames
        except UserError as error:
            self.problem = str(error)


def predict_videos(
    sources: Sequence[VideoSource],
    output: Path,
    model: SegmentationModel,
    protocol: Protocol,
    size: tuple[int, int],
    *,
    checkpoint: Path | None = None,
    wanted: Mapping[str, bool] | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
    flow: FlowMethod | None = None,
    postprocess: Postprocess | None = None,
    anchor: str | int | None = None,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    shard: Shard | None = None,
) -> Iterator[tuple[Path, Predicted]]:
    """Segment videos into `output`, several into a folder each; yield the folder of each and what became of it.

    `output/predict.json` says what was segmented how. The same call goes on where it was stopped; a video that is complete has
    0 `seconds`.

    Args:
        model: on its device.
        size: height and width in pixels of the test size; each video gets one of its own aspect, see `fitted_size`.
        checkpoint: where `model` came from, if it was from a file.
        wanted: which of `Outputs` to write beside the masks, by name.
        batch_size, precision: see `VideoSegmenter`.
        flow: computes the optical flow, or says in which folder it lies, for a network that needs it; None: `OpticalFlow()`.
        postprocess, anchor: see `predict`.
        settings: in plain values, what else tells results apart: the `backend`, the parameters of `postprocess`, `files_sha256`.
        overwrite: delete what another prediction left in `output`.
        shard: of the videos; None: all.

    Raises UserError if `output` is another prediction's, and at the end, when all that can be read is done, for damaged videos.
    """
    shard, marker = shard or Shard(), output / "predict.json"
    flow = (flow or OpticalFlow()) if model.needs_flow else None
    outputs = {s.name: Outputs(output if len(sources) == 1 else output / s.name, **(wanted or {})) for s in sources}
    described = {
        "input": {source.name: source.content() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint) if checkpoint else None,
        "protocol": protocol.as_json(),
        "size": list(size),
        "backend": "torch",
        "precision": precision,
        "flow": describe_flow(flow, (source.name for source in sources)),
        "postprocess": None,
        "anchor": anchor,
        "files_sha256": {},
        **(settings or {}),
    }
    shard.refuse_overwrite(output, overwrite)
    every = [path for made in outputs.values() for path in made.every()]
    with claimed(marker, "prediction", described, overwrite, every, shard) as earlier:
        if earlier and any(source.live for source in sources):
            raise UserError(
                f"{output} holds what a webcam saw, which cannot be continued; give another output, or overwrite=true"
            )
        videos = _noted(marker, earlier.get("videos", {}))

        def segmenter_for(frame_size: tuple[int, int]) -> VideoSegmenter:
            computed = flow if isinstance(flow, FrameFlow) else None
            return VideoSegmenter(model, protocol, fitted_size(size, frame_size), batch_size, computed, precision)

        try:
            for source in shard.mine(sources):
                made, done = outputs[source.name], videos.get(source.name)
                if done and done.frames and made.complete(done.frames):
                    yield made.folder, replace(done, segmented=0, seconds=0.0)
                    continue
                given = flow if isinstance(flow, FlowFolder) else None
                with (
                    nullcontext()
                    if any(path.exists() for path in made.every())
                    else removed_after_user_error(made.every())
                ):
                    result = predict(source, made, segmenter_for, postprocess, anchor, resume=bool(earlier), flow=given)
                videos[source.name] = result
                with shard.alone(output):
                    noted = read_json(marker).get("videos", {})  # another shard's, too
                    write_json(marker, described | {"videos": noted | {source.name: asdict(result)}})
                yield made.folder, result
        finally:
            if shard.count == 1 and not any(path.exists() for path in every):
                marker.unlink(missing_ok=True)  # so that a mistake doesn't bar the folder to the mended command
    if problems := [video.problem for video in videos.values() if video.problem]:
        raise UserError("; ".join(problems))


def _noted(marker: Path, videos: Any) -> dict[str, Predicted]:
    """Read what the marker says of each video. Raises UserError for what no prediction writes."""
    try:
        found = {name: Predicted(**done) for name, done in videos.items()}
        if not all(isinstance(video.problem, str | None) for video in found.values()):
            raise TypeError
    except (AttributeError, TypeError) as error:
        raise UserError(f"{marker} is not as it was written; give another output, or overwrite=true") from error
    return found


def check_extras(sources: Iterable[VideoSource], overlay: bool, rle: bool) -> None:
    """Raise UserError before any work if a library that reads the sources or writes the outputs is not installed."""
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
    """Yield each frame with its probability, None if its mask exists; frames wait here for the rest of their batch."""
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
    """Yield the flow of each frame. One may lack it: the first or the last frame has no neighbour."""
    without = 0
    for frame in frames:
        vectors = flow.of_frame(video, frame.name, (frame.image.shape[0], frame.image.shape[1]))
        without += vectors is None
        if without > 1:
            raise flow.missing(video, frame.name)
        yield NO_MOTION if vectors is None else vectors


def _is_known(outputs: Outputs, frame: VideoFrame) -> bool:
    """Return whether the files exist from which everything else is made without the network."""
    needed = ("masks", "probabilities") if outputs.probabilities else ("masks",)
    return all(is_whole_png(outputs.folder / name / f"{frame.name}.png") for name in needed)


def _write(
    outputs: Outputs,
    threshold: float,
    overlay: OverlayVideo | None,
    frame: VideoFrame,
    probability: Probability | None,
) -> None:
    """Write what is wanted of a frame. Its mask comes last, so that a frame with a mask is complete."""
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
