"""Segment and score a dataset: `python -m adnet.evaluate checkpoint=RUN/checkpoints/last.ckpt data=davis2016 [protocol=paper]`.

Writes `masks/<sequence>/<frame>.png` and `scores.json` into `output`, with `probabilities=true` also probabilities. Resumes an
interrupted evaluation.
"""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command


@command("evaluate")
def main(cfg: DictConfig) -> None:
    from adnet.backends.load import load_backend
    from adnet.backends.runtime import METADATA
    from adnet.inference import VideoSegmenter, evaluate, load_checkpoint
    from adnet.inference.embeddings import write_embeddings
    from adnet.inference.output_folder import Shard, built_postprocess
    from adnet.weights.pretrained import locate

    checkpoint = locate(cfg.checkpoint)
    if cfg.embeddings and (checkpoint.is_dir() or checkpoint.name == METADATA):
        raise UserError(
            f"embeddings={cfg.embeddings} needs the network itself: give the checkpoint that {checkpoint} was made from"
        )
    model, size = load_backend(checkpoint, cfg.backend, cfg.device)
    dataset, protocol = instantiate(cfg.data), instantiate(cfg.protocol)
    flow = instantiate(cfg.flow) if model.needs_flow else None
    segmenter = VideoSegmenter(model, protocol, tuple(cfg.size or size), cfg.batch_size, precision=cfg.precision)
    postprocess, settings = built_postprocess(cfg)
    name = f"{dataset.name}-{dataset.split}-{protocol.name}"
    output = Path(cfg.output or _default_output(checkpoint, name))
    shard = Shard(cfg.shard, cfg.shards)
    scores = evaluate(
        segmenter, dataset, output, checkpoint, cfg.overwrite, cfg.probabilities, postprocess, settings, shard, flow
    )
    if not scores:
        print(f"{dataset.name} {dataset.split}: shard {shard.index} of {shard.count} is done, others are not: {output}")
        return
    mean = scores["mean"]
    if cfg.embeddings:
        network = load_checkpoint(checkpoint)[0].to(model.device)
        write_embeddings(network, dataset, tuple(cfg.size or size), cfg.embeddings, output)
    print(
        f"{dataset.name} {dataset.split}: J {100 * mean['J']['mean']:.1f}   F {100 * mean['F']['mean']:.1f}   {output / 'scores.json'}"
    )


def _default_output(checkpoint: Path, name: str) -> Path:
    """Return the folder of the evaluation `name`: in a checkpoint's run folder or beside it; here for weights alone."""
    from adnet.weights.pretrained import WEIGHTS

    if checkpoint.name == WEIGHTS:  # in the package, or the hub's cache
        return Path("evaluation") / f"{checkpoint.parent.name}-{name}"
    folder = checkpoint.absolute().parent
    home = folder.parent if folder.name == "checkpoints" else folder
    return home / "evaluation" / f"{checkpoint.stem}-{name}"


if __name__ == "__main__":
    main()
