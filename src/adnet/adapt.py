"""Learn from corrected masks: `python -m adnet.adapt input=VIDEO|FOLDER masks=FOLDER [checkpoint=...] [output=DIR]`.

Fine-tunes the network on the frames of the video whose masks are in `masks`, and segments the video again, as `adnet.predict` does.
Writes `output/masks/<frame>.png`, and `output.ckpt`, which is a `checkpoint` for other videos.
"""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command


@command("adapt")
def main(cfg: DictConfig) -> None:
    from tqdm import tqdm

    from adnet.backends.runtime import for_inference
    from adnet.inference.output_folder import built_postprocess
    from adnet.inference.predict_videos import predict_videos, wanted_outputs
    from adnet.models.checkpoint import load_checkpoint, write_checkpoint
    from adnet.shared.machine import usable_device
    from adnet.training.adaptation import adapt, read_corrections
    from adnet.video.sources import video_sources

    sources = video_sources(cfg.input, cfg.fps)
    if len(sources) > 1:
        raise UserError(f"input={cfg.input} is {len(sources)} videos: learn from one, then give others the weights")
    wanted = wanted_outputs(cfg, sources)
    output = Path(cfg.output or f"predictions/{sources[0].name}-adapted")
    adapted = output.with_name(f"{output.name}.ckpt")
    if not cfg.overwrite and (taken := [path for path in (adapted, output) if path.exists()]):
        raise UserError(f"{taken[0]} exists; give another output, or overwrite=true")
    corrections = read_corrections(sources[0], Path(cfg.masks))
    model, test_size = load_checkpoint(cfg.checkpoint)
    postprocess, settings = built_postprocess(cfg)
    flow = instantiate(cfg.flow) if model.needs_flow else None
    method, size = flow.method if flow else None, tuple(cfg.size or test_size)

    with tqdm(total=1.0, desc="learning", leave=False, disable=None, bar_format="{l_bar}{bar}| {remaining}") as bar:
        network = adapt(
            model.to(usable_device(cfg.device)),
            sources[0],
            corrections,
            size,
            flow=method,
            anchor=cfg.anchor,
            steps=cfg.steps,
            seed=cfg.seed,
            progress=lambda done, _: bar.update(done - bar.n),
        )
    write_checkpoint(adapted, network, test_size, cfg.overwrite)
    results = predict_videos(
        sources,
        output,
        for_inference(network),
        instantiate(cfg.protocol),
        size,
        checkpoint=adapted,
        wanted=wanted,
        flow=method,
        postprocess=postprocess,
        anchor=cfg.anchor,
        settings=settings,
        overwrite=cfg.overwrite,
    )
    for folder, result in results:
        print(
            f"{sources[0].name}: learned {len(corrections)} masks, {result.frames} frames segmented: {folder}, {adapted}"
        )


if __name__ == "__main__":
    main()
