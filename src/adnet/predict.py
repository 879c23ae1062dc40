"""Masks for any video: `python -m adnet.predict input=VIDEO|FOLDER|GLOB|WEBCAM_INDEX [checkpoint=...] [output=DIR] [overlay=true]`.

Writes `output/masks/<frame>.png`, for several videos `output/<video>/masks/<frame>.png`. The same command goes on where it was
stopped. Exits with 1 after a damaged video, when all that could be read is done.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from adnet.command import command
from adnet.errors import UserError
from adnet.files import read_json, remove, write_json

if TYPE_CHECKING:
    from adnet.inference.prediction import Outputs
    from adnet.inference.video import VideoSource


@command("predict")
def main(cfg: DictConfig) -> None:
    from adnet.data.flow import FrameFlow, SequenceFlow
    from adnet.data.flow_folder import FlowFolder
    from adnet.inference import Protocol, VideoSegmenter
    from adnet.inference.backends import load_backend
    from adnet.inference.claim import checkpoint_sha256, claim, contents, described_flow, without_device
    from adnet.inference.prediction import Predicted, check_extras, predict
    from adnet.inference.segmenter import fitted_size
    from adnet.inference.shards import Shard
    from adnet.inference.video import video_sources
    from adnet.models.pretrained import locate

    checkpoint = locate(cfg.checkpoint)
    sources = video_sources(list(cfg.input) if isinstance(cfg.input, ListConfig) else cfg.input, cfg.fps)
    check_extras(sources, cfg.overlay, cfg.rle)
    output = Path(cfg.output or ("predictions" if len(sources) > 1 else f"predictions/{sources[0].name}"))
    model, test_size = load_backend(checkpoint, cfg.backend, cfg.device)
    protocol: Protocol = instantiate(cfg.protocol)
    size: tuple[int, int] = tuple(cfg.size or test_size)
    postprocess = instantiate(cfg.postprocess) if cfg.get("postprocess") else None
    settings = without_device(OmegaConf.to_container(cfg.postprocess, resolve=True)) if postprocess else None
    flow: SequenceFlow | None = instantiate(cfg.flow) if model.needs_flow else None
    method = flow.method if flow else None
    outputs = {source.name: _outputs(cfg, output, source, len(sources)) for source in sources}
    described = {
        "input": {source.name: source.content() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "size": list(size),
        "backend": cfg.backend,
        "precision": cfg.precision,
        "flow": described_flow(method, (source.name for source in sources)),
        "postprocess": settings,
        "anchor": cfg.anchor,
        "files_sha256": contents([cfg.anchor, settings]),
    }
    marker = output / "predict.json"
    shard = Shard(cfg.shard, cfg.shards)
    shard.refuse_overwrite(output, cfg.overwrite)
    every = [path for made in outputs.values() for path in made.every()]
    with shard.alone(output):
        earlier = claim(marker, "prediction", described, cfg.overwrite, every)
    if earlier and any(source.live for source in sources):
        raise UserError(
            f"{output} holds what a webcam saw, which can't be gone on with; give another output, or overwrite=true"
        )
    videos: dict[str, Predicted] = {name: Predicted(**done) for name, done in earlier.get("videos", {}).items()}
    try:
        for source in shard.mine(sources):
            made = outputs[source.name]
            done = videos.get(source.name)
            if done and done.frames and made.complete(done.frames):
                print(f"{source.name}: {done.frames} frames, all there already: {made.folder}")
                continue
            begun = any(path.exists() for path in made.every())
            try:
                result = predict(
                    source,
                    made,
                    lambda frame_size: VideoSegmenter(
                        model,
                        protocol,
                        fitted_size(size, frame_size),
                        cfg.batch_size,
                        method if isinstance(method, FrameFlow) else None,
                        cfg.precision,
                    ),
                    postprocess,
                    cfg.anchor,
                    resume=bool(earlier),
                    flow=method if isinstance(method, FlowFolder) else None,
                )
            except UserError:
                if not begun:
                    remove(made.every())  # made by the mistake
                raise
            videos[source.name] = result
            with shard.alone(output):
                noted = read_json(marker).get("videos", {})  # another shard's, too
                write_json(marker, described | {"videos": noted | {source.name: asdict(result)}})
            print(
                f"{source.name}: {result.frames} frames, {result.segmented} now, in {result.seconds:.1f} s: {made.folder}"
            )
    finally:
        if shard.count == 1 and not any(path.exists() for path in every):
            marker.unlink(missing_ok=True)  # so that a mistake doesn't bar the folder to the mended command
    if problems := [video.problem for video in videos.values() if video.problem]:
        raise UserError("; ".join(problems))


def _outputs(cfg: DictConfig, output: Path, source: VideoSource, number: int) -> Outputs:
    from adnet.inference.prediction import Outputs

    folder = output if number == 1 else output / source.name
    return Outputs(folder, cfg.probabilities, cfg.cutout, cfg.overlay, cfg.rle)


if __name__ == "__main__":
    main()
