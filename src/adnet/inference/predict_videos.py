"""Segment any number of videos into one output folder, resumably and in shards.

for folder, result in predict_videos(video_sources("mine.mp4"), Path("output"), model, protocol, size):
    print(folder, result.frames)     # output/masks/<frame>.png
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from adnet.backends.load import checkpoint_sha256
from adnet.backends.runtime import SegmentationModel
from adnet.data.flow import FlowMethod, FrameFlow, OpticalFlow, Vectors
from adnet.data.flow_folder import FlowFolder
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
from adnet.inference.predict_video import Outputs, check_flow, predict
from adnet.inference.protocol import Protocol, fitted_size
from adnet.inference.segmenter import VideoSegmenter
from adnet.shared.file_formats import Predicted
from adnet.shared.files import read_json, write_json
from adnet.shared.machine import need_extra
from adnet.video.file import VideoFile, VideoFrame
from adnet.video.sources import VideoSource


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
    """Segment videos into `output` (several videos: into a folder each); yield the folder and the result of each.

    `output/predict.json` records the input and the settings. The same call resumes an interrupted one; videos that are
    complete already have 0 `seconds`.

    Args:
        sources: the videos, see `adnet.video.sources`.
        model: the network, on its device.
        size: test size (height, width) in pixels; each video gets one of its own aspect, see `fitted_size`.
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
    outputs_of = {
        source.name: Outputs(output if len(sources) == 1 else output / source.name, video="", **(wanted or {}))
        for source in sources
    }
    described = {
        "input": {source.name: source.content() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint) if checkpoint else None,
        "protocol": protocol.as_json(),
        "size": list(size),
        "precision": precision,
        "flow": describe_flow(flow, (source.name for source in sources)),
        "anchor": anchor,
        **PLAIN,
        **(settings or {}),
    }
    if isinstance(flow, FlowFolder):
        for source in shard.part_of(sources):
            check_flow(flow, source)
    everything = [path for outputs in outputs_of.values() for path in outputs.every()]
    with locked_output(marker, "prediction", described, overwrite, everything, shard) as earlier:
        if earlier and any(source.live for source in sources):
            raise UserError(
                f"{output} holds the video of a webcam, which cannot be continued; give another output, or overwrite=true"
            )
        try:
            results = TypeAdapter(dict[str, Predicted]).validate_python(earlier.get("videos", {}))
        except ValidationError as error:
            raise UserError(f"{marker} is damaged; give another output, or overwrite=true") from error

        def segmenter_for(frame_size: tuple[int, int]) -> VideoSegmenter:
            method = flow if isinstance(flow, FrameFlow) else None
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
                marker.unlink(missing_ok=True)  # otherwise the corrected command could not use the folder
    if problems := [result.problem for result in results.values() if result.problem]:
        raise UserError("; ".join(problems))


def _flow_of(flow: FlowFolder, video: str, frame: VideoFrame) -> Vectors | None:
    """Return the flow of a frame; None for one without a file, which has no neighbour."""
    return flow.of_frame(video, frame.name, (frame.image.shape[0], frame.image.shape[1]))


def wanted_outputs(cfg: Mapping[str, Any], sources: Iterable[VideoSource]) -> dict[str, bool]:
    """Return which of `Outputs` a command's config wants. Raises UserError without the extras that these or the sources need."""
    for source in sources:
        if isinstance(source, VideoFile):
            need_extra("video", "av", f"{source.path}, a video and not images,")
    for name, module in (("overlay", "av"), ("rle", "pycocotools"), ("polygons", "pycocotools")):
        if cfg[name]:
            need_extra("video", module, f"{name}=true")
    return {name: cfg[name] for name in ("probabilities", "cutout", "overlay", "rle", "polygons")}
