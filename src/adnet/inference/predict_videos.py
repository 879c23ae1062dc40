"""Segment any number of videos, resumably and in shards; write masks, probabilities, cut-outs, overlay videos and COCO files.

for folder, result in predict_videos(video_sources("mine.mp4"), Path("output"), model, protocol, size):
    print(folder, result.frames)     # output/masks/<frame>.png
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, groupby, repeat, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError
from tqdm import tqdm

from adnet.backends.load import checkpoint_sha256
from adnet.backends.runtime import SegmentationModel
from adnet.data.coco_masks import write_coco
from adnet.data.flow import FlowMethod, NoFlow, OpticalFlow, Vectors
from adnet.data.flow_folder import FlowFolder
from adnet.data.masks import Probability, read_mask, write_mask
from adnet.data.pictures import Frame, is_whole_png, read_frame, write_png
from adnet.errors import UserError
from adnet.inference.output_folder import (
    PLAIN,
    Shard,
    describe_flow,
    locked_output,
    removed_after_user_error,
    removed_if_empty,
)
from adnet.inference.postprocess import Postprocess
from adnet.inference.protocol import Protocol, fitted_size
from adnet.inference.segmenter import VideoSegmenter
from adnet.inference.smoothing import first_needed
from adnet.shared.files import read_json, write_json
from adnet.shared.machine import need_extra
from adnet.video.file import VideoFile, VideoFrame
from adnet.video.overlay import OverlayVideo, can_show
from adnet.video.sources import VideoSource
from adnet.video.threads import write_behind


@dataclass(frozen=True)
class Outputs:
    """What to write into the folder of a video, in addition to `masks/<frame>.png` (0/255)."""

    folder: Path
    probabilities: bool = False
    """`probabilities/<frame>.png`, 8-bit round(255 p)"""
    cutout: bool = False
    """`cutouts/<frame>.png`, RGBA; alpha is the mask"""
    overlay: bool = False
    """`overlay.mp4`, unless H.264 has no frames of the video's size"""
    rle: bool = False
    polygons: bool = False
    """`rle.json` and `polygons.json`, see `adnet.data.coco_masks`"""
    video: str = ""
    """name of the video if several share the folder; images are then `masks/<video>/<frame>.png` and so on"""

    def file(self, kind: str, frame: str) -> Path:
        """Return the file of a frame; `kind` is `masks`, `probabilities` or `cutouts`."""
        return self.folder / kind / self.video / f"{frame}.png"

    def done(self, frame: str) -> bool:
        """Return whether those files of a frame exist from which its others can be made without the network."""
        needed = ("masks", "probabilities") if self.probabilities else ("masks",)
        return all(is_whole_png(self.file(kind, frame)) for kind in needed)

    def complete(self, frames: int) -> bool:
        """Return whether every wanted file exists for all `frames` frames, and no image is incomplete."""
        images = ["masks"] + ["probabilities"] * self.probabilities + ["cutouts"] * self.cutout
        videos = ["overlay.mp4"] * self.overlay + ["rle.json"] * self.rle + ["polygons.json"] * self.polygons
        written = {sum(map(is_whole_png, (self.folder / kind / self.video).glob("*.png"))) for kind in images}
        return written == {frames} and all((self.folder / name).is_file() for name in videos)

    def every(self) -> list[Path]:
        """List everything that could be written, wanted or not."""
        names = ("masks", "probabilities", "cutouts", "overlay.mp4", "rle.json", "polygons.json")
        return [self.folder / name for name in names]


@dataclass(frozen=True)
class Predicted:
    """The result for a video: its number of frames, how many were segmented now, in how many seconds, and what couldn't be read."""

    frames: NonNegativeInt
    segmented: NonNegativeInt
    seconds: NonNegativeFloat
    problem: str | None


class Reading:
    """Iterate over frames until one can't be read; `problem` then says why. The constructor opens the source."""

    def __init__(self, source: VideoSource) -> None:
        self.problem: str | None = None
        self._frames = source.frames()

    def __iter__(self) -> Generator[VideoFrame, None, None]:
        try:
            yield from self._frames
        except UserError as error:
            self.problem = str(error)


def predict(
    source: VideoSource,
    outputs: Outputs,
    segmenter_for: Callable[[tuple[int, int]], VideoSegmenter],
    postprocess: Postprocess | None = None,
    anchor: str | int | None = None,
    resume: bool = False,
    flow_of: Callable[[VideoFrame], Vectors | None] | None = None,
) -> Predicted:
    """Segment `source` and write `outputs`.

    Args:
        segmenter_for: height and width of the first frame as players show it -> the segmenter to use.
        postprocess: applied to the probabilities of each frame.
        anchor: the number of a frame or the path of an image; None: the first frame.
        resume: skip frames that have masks, unless results depend on earlier frames.
        flow_of: returns a frame's optical flow, or None without a neighbour, for a network that needs it; None: the segmenter computes it.

    A webcam ends with Ctrl-C. A damaged video is segmented as far as it can be read, and `problem` says so. Raises UserError
    if `anchor` does not exist, and for a webcam with a `postprocess`, which reads the whole video first.
    """
    if source.live and postprocess:
        raise UserError("a postprocess reads the whole video first, and a webcam has no end: give postprocess=none")
    reading, started = Reading(source), time.perf_counter()
    names: list[str] = []
    segmented = 0
    with ExitStack() as stack:
        frames = stack.enter_context(closing(iter(reading)))
        if (first := next(frames, None)) is None:
            return Predicted(0, 0, 0, reading.problem or f"{source.name} has no frames")
        segmenter = segmenter_for(first.shown_size)
        segmenter.start(anchor_frame(source, anchor, first.image), first.pixel_aspect)
        if postprocess:
            postprocess.start(source.name, (frame.image for frame in Reading(source)))
        keep = resume and not postprocess and not segmenter.protocol.stateful

        def is_done(frame: VideoFrame) -> bool:
            return keep and outputs.done(frame.name)

        # An average over time needs some frames before the first missing one; the video's first frame has flow to the second.
        needed = sys.maxsize
        if keep and segmenter.protocol.smooth:
            done = sum(1 for _ in takewhile(outputs.done, source.names()))
            needed = first_needed(done) if done != source.length() else needed
        pair = segmenter.flow is not None and not flow_of and not is_done(first)

        def is_skipped(number: int, frame: VideoFrame) -> bool:
            return number < needed and not (pair and number < 2) and is_done(frame)

        shown = outputs.overlay and can_show(first.image)
        if outputs.overlay and not shown:
            logging.getLogger(__name__).warning("%s: no overlay: H.264 has sides of 2 to 16384 pixels", source.name)
        overlay = stack.enter_context(OverlayVideo(outputs.folder / "overlay.mp4")) if shown else None
        put = stack.enter_context(write_behind(partial(_write, outputs, segmenter.protocol.threshold, overlay)))
        bar = tqdm(total=source.length(), desc=source.name, unit="frame", leave=False, disable=None)
        progress = stack.enter_context(bar)
        with suppress(KeyboardInterrupt) if source.live else nullcontext():
            results = _results(chain([first], frames), is_skipped, segmenter, postprocess, source.live, flow_of)
            with closing(results):
                for frame, result in results:
                    probability = None if is_done(frame) else result
                    put(frame, probability)
                    names.append(frame.name)
                    segmented += probability is not None
                    progress.update()
    masks = [outputs.file("masks", name) for name in names]
    if outputs.rle:
        write_coco(masks, outputs.folder / "rle.json")
    if outputs.polygons:
        write_coco(masks, outputs.folder / "polygons.json", polygons=True)
    return Predicted(len(names), segmented, round(time.perf_counter() - started, 2), reading.problem)


def check_flow(flow: FlowFolder, source: VideoSource) -> None:
    """Read all of `source`; raise UserError for a webcam, and if `flow` lacks a frame of it or has surplus frames.

    Surplus frames are allowed if part of `source` can't be read.
    """
    if source.live:
        raise UserError(f"{source.name}: flow=folder has no optical flow of a webcam; choose another flow")
    reading = Reading(source)
    flow.check(source.name, [frame.name for frame in reading], whole=reading.problem is None)


def _results(
    frames: Iterable[VideoFrame],
    is_skipped: Callable[[int, VideoFrame], bool],
    segmenter: VideoSegmenter,
    postprocess: Postprocess | None,
    live: bool,
    flow_of: Callable[[VideoFrame], Vectors | None] | None,
) -> Generator[tuple[VideoFrame, Probability | None], None, None]:
    """Yield each frame with its probability, or None if it is skipped. Frames are held until their batch is segmented."""
    for skipped, group in groupby(enumerate(frames), lambda numbered: is_skipped(*numbered)):
        members = (frame for _, frame in group)
        if skipped:
            for frame in members:
                segmenter.skip(frame.image)
                yield frame, None
            continue
        held: deque[VideoFrame] = deque()
        images = (frame.image for frame in _noted(members, held))
        flows = (flow_of(held[-1]) for _ in repeat(None)) if flow_of else None  # of the image read last
        probabilities = segmenter.steps(images, live=live, flows=flows)
        with closing(probabilities):  # its thread reads the frames
            for probability in probabilities:
                frame = held.popleft()
                yield frame, postprocess.step(frame.name, probability) if postprocess else probability


def _noted(frames: Iterable[VideoFrame], held: deque[VideoFrame]) -> Iterator[VideoFrame]:
    for frame in frames:
        held.append(frame)
        yield frame


def _write(
    outputs: Outputs, threshold: float, overlay: OverlayVideo | None, frame: VideoFrame, probability: Probability | None
) -> None:
    """Write a frame's files; without a probability, only the missing ones. The mask comes last: a frame with a mask is complete."""
    kinds = ("masks", "probabilities", "cutouts")
    mask_file, probability_file, cutout_file = (outputs.file(kind, frame.name) for kind in kinds)
    mask = read_mask(mask_file) if probability is None else np.asarray(probability > threshold)
    if overlay:
        overlay.add(frame.image, mask, frame.time, frame.duration, frame.pixel_aspect)
    if outputs.cutout and not (probability is None and cutout_file.is_file()):
        write_png(cutout_file, np.dstack([frame.image, mask.astype(np.uint8) * 255]))
    if probability is not None:
        if outputs.probabilities:
            write_png(probability_file, np.rint(255 * probability).astype(np.uint8))
        write_mask(mask_file, mask)


def anchor_frame(source: VideoSource, anchor: str | int | None, first: Frame) -> Frame:
    """Return the frame of `source`, or the image, that `anchor` names, as in `predict`; `first` is the first frame."""
    if anchor is None or str(anchor) == "0":
        return first
    if not str(anchor).isdecimal():
        if not (path := Path(str(anchor))).is_file():
            raise UserError(f"anchor={anchor} is neither an existing image nor a frame number, counted from 0")
        return read_frame(path)
    if source.live:
        raise UserError(f"anchor={anchor}: a webcam's anchor is its first frame or an image")
    for number, frame in enumerate(Reading(source)):
        if number == int(anchor):
            return frame.image
    raise UserError(f"anchor={anchor}: {source.name} has no such frame; frames are counted from 0")


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
    """Segment videos into `output` (several videos: each into its own folder); yield each one's folder and result.

    `output/predict.json` records the input and the settings. The same call resumes an interrupted one; for videos that were
    already complete, `seconds` is 0.

    Args:
        sources: the videos, see `adnet.video.sources`.
        model: the network, on its device.
        size: test size (height, width) in pixels; it is fitted to each video's aspect, see `fitted_size`.
        checkpoint: the file of `model`, if any.
        wanted: which of `Outputs` to write in addition to the masks, by name.
        batch_size, precision: see `VideoSegmenter`.
        flow: computes the optical flow, or reads it from a folder, for a network that needs it; None: `OpticalFlow()`.
        postprocess, anchor: see `predict`.
        settings: what else determines the results, see `built_postprocess`.
        overwrite: delete the results of another prediction in `output`.
        shard: this process's share of the videos; None: all.

    Raises UserError if `output` belongs to another prediction, for a folder of `flow` with too few or too many files and, after
    everything readable is segmented, for damaged videos.
    """
    shard, marker = shard or Shard(), output / "predict.json"
    flow = (flow or OpticalFlow()) if model.needs_flow else None
    folders = {source.name: output if len(sources) == 1 else output / source.name for source in sources}
    outputs_of = {name: Outputs(folder, video="", **(wanted or {})) for name, folder in folders.items()}
    described = {
        "input": {source.name: source.content() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint) if checkpoint else None,
        "protocol": protocol.as_json(),
        "size": list(size),
        "precision": precision,
        "flow": describe_flow(flow, (source.name for source in sources if source.length() != 1)),
        "anchor": anchor,
        **PLAIN,
        **(settings or {}),
    }
    if isinstance(flow, FlowFolder):
        for source in shard.part_of(sources):
            check_flow(flow, source)
    replaced = {*folders.values(), *(_folders_of(marker) if overwrite else ())}
    everything = [path for folder in replaced for path in Outputs(folder).every()]
    with locked_output(marker, "prediction", described, overwrite, everything, shard) as earlier:
        if earlier and any(source.live for source in sources):
            raise UserError(f"{output} holds a webcam's video, which has ended; give another output, or overwrite=true")
        try:
            results = TypeAdapter(dict[str, Predicted]).validate_python(earlier.get("videos", {}))
        except ValidationError as error:
            raise UserError(f"{marker} is damaged; give another output, or overwrite=true") from error

        def segmenter_for(frame_size: tuple[int, int]) -> VideoSegmenter:
            method = flow if isinstance(flow, OpticalFlow | NoFlow) else None
            return VideoSegmenter(model, protocol, fitted_size(size, frame_size), batch_size, method, precision)

        try:
            for source in shard.part_of(sources):
                outputs, done = outputs_of[source.name], results.get(source.name)
                if done and done.frames and outputs.complete(done.frames):
                    yield outputs.folder, replace(done, segmented=0, seconds=0.0)
                    continue
                new = [] if any(path.exists() for path in outputs.every()) else outputs.every()
                flow_of = partial(_flow_of, flow, source.name) if isinstance(flow, FlowFolder) else None
                with removed_if_empty(outputs.folder), removed_after_user_error(new):
                    result = predict(source, outputs, segmenter_for, postprocess, anchor, bool(earlier), flow_of)
                results[source.name] = result
                with shard.locked(output):
                    videos = read_json(marker).get("videos", {})  # including those of other shards
                    write_json(marker, described | {"videos": videos | {source.name: asdict(result)}})
                yield outputs.folder, result
        finally:
            if shard.count == 1 and not any(path.exists() for path in everything):
                marker.unlink(missing_ok=True)  # so that a run without results leaves no folder behind
    if problems := [result.problem for result in results.values() if result.problem]:
        raise UserError("; ".join(problems))


def _folders_of(marker: Path) -> list[Path]:
    """List the folders to which the prediction recorded in `marker`, if any, may have written its videos' results."""
    with suppress(UserError, TypeError):  # it is damaged
        output, names = marker.parent, read_json(marker).get("input", ())
        return [output] if len(names) == 1 else [folder for folder in output.iterdir() if folder.name in names]
    return []


def _flow_of(flow: FlowFolder, video: str, frame: VideoFrame) -> Vectors | None:
    """Return the flow of a frame; None if it has no file, because it has no neighbour."""
    return flow.of_frame(video, frame.name, (frame.image.shape[0], frame.image.shape[1]))


def wanted_outputs(cfg: Mapping[str, Any], sources: Iterable[VideoSource]) -> dict[str, bool]:
    """Return which of `Outputs` a command's config wants. Raises UserError without the extras that outputs or sources need."""
    for source in sources:
        if isinstance(source, VideoFile):
            need_extra("video", "av", f"{source.path}, a video and not images,")
    for name, module in (("overlay", "av"), ("rle", "pycocotools"), ("polygons", "pycocotools")):
        if cfg[name]:
            need_extra("video", module, f"{name}=true")
    return {name: cfg[name] for name in ("probabilities", "cutout", "overlay", "rle", "polygons")}
