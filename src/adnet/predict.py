"""Masks for any video: `python -m adnet.predict input=VIDEO|FOLDER|GLOB|WEBCAM_INDEX checkpoint=... output=DIR [overlay=true]`.

Writes `output/masks/<frame>.png`, for several videos `output/<video>/masks/<frame>.png`. The same command goes on where it was
stopped. Exits with 1 after a damaged video, when all that could be read is done.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from adnet.command import command
from adnet.data.flow import FrameFlow, SequenceFlow
from adnet.data.flow_folder import FlowFolder
from adnet.errors import UserError
from adnet.files import write_json
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.backends import load_backend
from adnet.inference.claim import checkpoint_sha256, claim
from adnet.inference.prediction import Outputs, Predicted, predict
from adnet.inference.segmenter import fitted_size
from adnet.inference.shards import Shard
from adnet.inference.video import VideoSource, video_sources


@command("predict")
def main(cfg: DictConfig) -> None:
    checkpoint, output = Path(cfg.checkpoint), Path(cfg.output)
    sources = video_sources(list(cfg.input) if isinstance(cfg.input, ListConfig) else cfg.input, cfg.fps)
    model, test_size = load_backend(checkpoint, cfg.backend, cfg.device)
    protocol: Protocol = instantiate(cfg.protocol)
    size: tuple[int, int] = tuple(cfg.size or test_size)
    postprocess = instantiate(cfg.postprocess) if cfg.get("postprocess") else None
    flow: SequenceFlow | None = instantiate(cfg.flow) if model.needs_flow else None
    method = flow.method if flow else None
    if isinstance(method, FlowFolder):
        for source in sources:
            method.found(source.name)  # or it is missed before anything is written
    outputs = {source.name: _outputs(cfg, output, source, len(sources)) for source in sources}
    described = {
        "input": {source.name: source.disk_bytes() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "size": list(size),
        "backend": cfg.backend,
        "postprocess": OmegaConf.to_container(cfg.postprocess, resolve=True) if postprocess else None,
        "anchor": cfg.anchor,
        **({"flow": repr(method)} if method else {}),
    }
    marker = output / "predict.json"
    shard = Shard(cfg.shard, cfg.shards)
    shard.refuse_overwrite(output, cfg.overwrite)
    with shard.alone(output):
        earlier = claim(
            marker, "prediction", described, cfg.overwrite, (path for made in outputs.values() for path in made.every())
        )
    if earlier and any(source.live for source in sources):
        raise UserError(
            f"{output} holds what a webcam saw, which can't be gone on with; give another output, or overwrite=true"
        )
    videos: dict[str, Predicted] = {name: Predicted(**done) for name, done in earlier.get("videos", {}).items()}
    for source in shard.mine(sources):
        made = outputs[source.name]
        done = videos.get(source.name)
        if done and done.frames and made.complete(done.frames):
            print(f"{source.name}: {done.frames} frames, all there already: {made.folder}")
            continue
        result = predict(
            source,
            made,
            lambda frame_size: VideoSegmenter(
                model,
                protocol,
                fitted_size(size, frame_size),
                cfg.batch_size,
                method if isinstance(method, FrameFlow) else None,
            ),
            postprocess,
            cfg.anchor,
            resume=bool(earlier),
            flow=method if isinstance(method, FlowFolder) else None,
        )
        videos[source.name] = result
        with shard.alone(output):
            noted = json.loads(marker.read_text()).get("videos", {})  # another shard's, too
            write_json(marker, described | {"videos": noted | {source.name: asdict(result)}})
        print(
            f"{source.name}: {result.frames} frames, {result.segmented} now, in {result.seconds:.1f} s: {made.folder}"
        )
    if shard.count == 1 and not any(video.frames for video in videos.values()):
        marker.unlink()  # so that a mistaken input doesn't bar the folder
    if problems := [video.problem for video in videos.values() if video.problem]:
        raise UserError("; ".join(problems))


def _outputs(cfg: DictConfig, output: Path, source: VideoSource, number: int) -> Outputs:
    folder = output if number == 1 else output / source.name
    return Outputs(folder, cfg.probabilities, cfg.cutout, cfg.overlay, cfg.rle)


if __name__ == "__main__":
    main()
