"""Segment and score a dataset: `python -m adnet.evaluate checkpoint=RUN/checkpoints/last.ckpt data=davis2016 [protocol=paper]`.

Writes `masks/<sequence>/<frame>.png` and `scores.json` into `output`; where that was cut off, it goes on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.command import command
from adnet.inference import VideoSegmenter, evaluate, load_checkpoint


@command("evaluate")
def main(cfg: DictConfig) -> None:
    checkpoint = Path(cfg.checkpoint)
    model, size = load_checkpoint(checkpoint)
    dataset, protocol = instantiate(cfg.data), instantiate(cfg.protocol)
    device = cfg.device or ("cuda" if torch.cuda.is_available() else "cpu")
    segmenter = VideoSegmenter(model.to(device), protocol, tuple(cfg.size or size))
    name = f"{dataset.name}-{dataset.split}-{protocol.name}"
    output = Path(cfg.output or checkpoint.parent.parent / "evaluation" / f"{checkpoint.stem}-{name}")
    mean = evaluate(segmenter, dataset, output, checkpoint, cfg.overwrite)["mean"]
    print(
        f"{dataset.name} {dataset.split}: J {100 * mean['J']['mean']:.1f}   F {100 * mean['F']['mean']:.1f}   {output / 'scores.json'}"
    )


if __name__ == "__main__":
    main()
