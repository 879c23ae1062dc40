"""Masks for any video: `python -m adnet.predict input=VIDEO|FOLDER|GLOB|WEBCAM_INDEX [checkpoint=...] [output=DIR] [overlay=true]`.

Writes `output/masks/<frame>.png`, for several videos `output/<video>/masks/<frame>.png`. The same command goes on where it was
stopped. Exits with 1 after a damaged video, when all that could be read is done.
"""

from __future__ import annotations

from pathlib import Path
<<<<<<< HEAD
=======
from typing import TYPE_CHECKING, Any
>>>>>>> wt-14

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

<<<<<<< HEAD
from adnet.shared.command import command
=======
from adnet.shared.command import command
from adnet.errors import UserError
from adnet.shared.files import read_json, remove, write_json

if TYPE_CHECKING:
    from adnet.inference.predict_video import Outputs, Predicted
    from adnet.video.sources import VideoSource
>>>>>>> wt-14


@command("predict")
def main(cfg: DictConfig) -> None:
<<<<<<< HEAD
    from adnet.backends.load import load_backend
    from adnet.data.flow import SequenceFlow
    from adnet.inference.output_folder import Shard, contents, without_device
    from adnet.inference.predict_video import predict_videos
    from adnet.video.sources import video_sources
    from adnet.weights.pretrained import locate
=======
    from adnet.data.flow import FrameFlow, SequenceFlow
    from adnet.data.flow_folder import FlowFolder
    from adnet.inference import Protocol, VideoSegmenter
    from adnet.backends.load import load_backend
    from adnet.backends.load import checkpoint_sha256
    from adnet.inference.output_folder import claimed, contents, describe_flow, without_device
    from adnet.inference.predict_video import predict
    from adnet.inference.protocol import fitted_size
    from adnet.inference.output_folder import Shard
    from adnet.video.sources import video_sources
    from adnet.weights.pretrained import locate
>>>>>>> wt-14

    checkpoint = locate(cfg.checkpoint)
    sources = video_sources(list(cfg.input) if isinstance(cfg.input, ListConfig) else cfg.input, cfg.fps)
    model, test_size = load_backend(checkpoint, cfg.backend, cfg.device)
    postprocess = instantiate(cfg.postprocess) if cfg.get("postprocess") else None
    settings = without_device(OmegaConf.to_container(cfg.postprocess, resolve=True)) if postprocess else None
    flow: SequenceFlow | None = instantiate(cfg.flow) if model.needs_flow else None
<<<<<<< HEAD
    results = predict_videos(
        sources,
        Path(cfg.output or ("predictions" if len(sources) > 1 else f"predictions/{sources[0].name}")),
        model,
        instantiate(cfg.protocol),
        tuple(cfg.size or test_size),
        checkpoint=checkpoint,
        wanted={name: cfg[name] for name in ("probabilities", "cutout", "overlay", "rle")},
        batch_size=cfg.batch_size,
        precision=cfg.precision,
        flow=flow.method if flow else None,
        postprocess=postprocess,
        anchor=cfg.anchor,
        settings={
            "backend": cfg.backend,
            "postprocess": settings,
            "files_sha256": contents([cfg.anchor, settings]),
        },
        overwrite=cfg.overwrite,
        shard=Shard(cfg.shard, cfg.shards),
    )
    for source, (folder, result) in zip(Shard(cfg.shard, cfg.shards).mine(sources), results, strict=True):
        now = f"{result.segmented} now, in {result.seconds:.1f} s" if result.seconds else "all there already"
        print(f"{source.name}: {result.frames} frames, {now}: {folder}")
=======
    method = flow.method if flow else None
    outputs = {source.name: _outputs(cfg, output, source, len(sources)) for source in sources}
    described = {
        "input": {source.name: source.content() for source in sources},
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "size": list(size),
        "backend": cfg.backend,
        "precision": cfg.precision,
        "flow": describe_flow(method, (source.name for source in sources)),
        "postprocess": settings,
        "anchor": cfg.anchor,
        "files_sha256": contents([cfg.anchor, settings]),
    }
    marker = output / "predict.json"
    shard = Shard(cfg.shard, cfg.shards)
    shard.refuse_overwrite(output, cfg.overwrite)
    every = [path for made in outputs.values() for path in made.every()]
    with claimed(marker, "prediction", described, cfg.overwrite, every, shard) as earlier:
        if earlier and any(source.live for source in sources):
            raise UserError(
                f"{output} holds what a webcam saw, which can't be gone on with; give another output, or overwrite=true"
            )
        videos = _noted(marker, earlier.get("videos", {}))
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


def _noted(marker: Path, videos: Any) -> dict[str, Predicted]:
    """What the marker says of each video. Raises UserError for what no prediction writes."""
    from adnet.inference.predict_video import Predicted

    try:
        found = {name: Predicted(**done) for name, done in videos.items()}
        if not all(isinstance(video.problem, str | None) for video in found.values()):
            raise TypeError
    except (AttributeError, TypeError) as error:
        raise UserError(f"{marker} is not as it was written; give another output, or overwrite=true") from error
    return found


def _outputs(cfg: DictConfig, output: Path, source: VideoSource, number: int) -> Outputs:
    from adnet.inference.predict_video import Outputs

    folder = output if number == 1 else output / source.name
    return Outputs(folder, cfg.probabilities, cfg.cutout, cfg.overlay, cfg.rle)
>>>>>>> wt-14


if __name__ == "__main__":
    main()
