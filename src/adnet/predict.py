"""Masks for any video: `python -m adnet.predict input=VIDEO|FOLDER|GLOB|WEBCAM_INDEX [checkpoint=...] [output=DIR] [overlay=true]`.

Writes `output/masks/<frame>.png`, for several videos `output/<video>/masks/<frame>.png`. The same command resumes an interrupted
one. Exits with code 1 if a video is damaged, after segmenting everything that can be read.
"""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from adnet.shared.command import command


@command("predict")
def main(cfg: DictConfig) -> None:
    from adnet.backends.load import load_backend
    from adnet.inference.output_folder import Shard, built_postprocess
    from adnet.inference.predict_videos import predict_videos, wanted_outputs
    from adnet.video.sources import video_sources
    from adnet.weights.pretrained import locate

    checkpoint = locate(cfg.checkpoint)
    sources = video_sources(list(cfg.input) if isinstance(cfg.input, ListConfig) else cfg.input, cfg.fps)
    wanted = wanted_outputs(cfg, sources)
    model, test_size = load_backend(checkpoint, cfg.backend, cfg.device)
    postprocess, settings = built_postprocess(cfg)
    flow = instantiate(cfg.flow) if model.needs_flow else None
    shard = Shard(cfg.shard, cfg.shards)
    results = predict_videos(
        sources,
        Path(cfg.output or ("predictions" if len(sources) > 1 else f"predictions/{sources[0].name}")),
        model,
        instantiate(cfg.protocol),
        tuple(cfg.size or test_size),
        checkpoint=checkpoint,
        wanted=wanted,
        batch_size=cfg.batch_size,
        precision=cfg.precision,
        flow=flow.method if flow else None,
        postprocess=postprocess,
        anchor=cfg.anchor,
        settings=settings,
        overwrite=cfg.overwrite,
        shard=shard,
    )
    for source, (folder, result) in zip(shard.part_of(sources), results, strict=True):
        if not result.frames:
            continue  # an error at the end will say why
        now = f"{result.segmented} now, in {result.seconds:.1f} s" if result.seconds else "all there already"
        print(f"{source.name}: {result.frames} frames, {now}: {folder}")


if __name__ == "__main__":
    main()
