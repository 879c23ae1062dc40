"""Train a variant, then evaluate it: `python -m adnet.train +experiment=ablation_anchor [scale=lite] [key=value ...]`.

The run folder (`hydra.run.dir=...` moves it) is complete on its own: `config.yaml`, `metrics.csv`, `checkpoints/`,
`evaluation/`, `summary.json`.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adnet.command import command, resolved, run_dir
from adnet.data.datamodule import PairDataModule
from adnet.data.sequence import VideoDataset
from adnet.errors import UserError
from adnet.files import write_json
from adnet.inference import Protocol, VideoSegmenter, evaluate
from adnet.models.cost import model_cost
from adnet.training import SegmentationModule
from adnet.training.loggers import finish_wandb
from adnet.training.provenance import fingerprint, git_commit, versions


@command("train")
def main(cfg: DictConfig) -> None:
    cfg, folder = resolved(cfg), run_dir()
    last = folder / "checkpoints" / "last.ckpt"
    if (folder / "summary.json").is_file():
        raise UserError(f"{folder} holds a finished run; give another hydra.run.dir")
    if last.is_file() and not cfg.resume:
        raise UserError(f"{folder} holds a run that was cut off; resume=true goes on with it")
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    train, val = (instantiate(cfg.data, split=split) for split in ("train", "val"))
    # Hydra would take a dataset handed to it for a config.
    data: PairDataModule = instantiate(cfg.pairs, _partial_=True)(train=train, val=val)
    model = instantiate(cfg.model)
    module = SegmentationModule(
        model,
        instantiate(cfg.optim.optimizer),
        instantiate(cfg.optim.schedule),
        cfg.optim.new_layers_lr,
        tuple(cfg.test_size),
        OmegaConf.to_container(cfg.model),  # type: ignore[arg-type]
        cfg.seed,
    )
    callbacks, loggers = (list(instantiate(cfg[group]).values()) for group in ("callbacks", "logger"))
    trainer: L.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    if trainer.is_global_zero:
        OmegaConf.save(cfg, folder / "config.yaml")
        print(f"{model.variant}: {model_cost(model, module.test_size)}")

    score = partial(
        _score,
        module,
        trainer.strategy.root_device,
        instantiate(cfg.protocol),
        val if cfg.test_at_end else None,
        folder,
    )
    initial = score("initial") if cfg.test_at_start and trainer.is_global_zero else None
    started = time.perf_counter()
    try:
        trainer.fit(module, data, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    finally:
        finish_wandb()
    seconds = time.perf_counter() - started
    if not trainer.is_global_zero:
        return
    final = score("evaluation")
    summary: dict[str, Any] = {
        "variant": model.variant,
        "seed": cfg.seed,
        **(final or {"J": None, "F": None}),
        "initial": initial,
        "dataset": train.name,
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": {"train": fingerprint(data.train), "val": fingerprint(data.val)},
        "git_commit": git_commit(),
        "versions": versions(),
    }
    write_json(folder / "summary.json", summary)
    print(f"{model.variant}: {trainer.global_step} steps in {seconds:.0f} s")
    for name, scores in (("before", initial), ("after", final)):
        if scores:
            print(
                f"  {name + ' training':<16} J {100 * scores['J']:5.1f}   F {100 * scores['F']:5.1f}   ({val.name} {val.split})"
            )
    print(f"run folder: {folder}")


def _score(
    module: SegmentationModule,
    device: torch.device,
    protocol: Protocol,
    dataset: VideoDataset | None,
    folder: Path,
    name: str,
) -> dict[str, float] | None:
    if dataset is None:
        return None
    # Lightning brings the module back to the CPU after a fit.
    segmenter = VideoSegmenter(module.model.to(device), protocol, module.test_size)
    output = folder / name / f"{dataset.name}-{dataset.split}-{protocol.name}"
    mean = evaluate(segmenter, dataset, output, overwrite=True)["mean"]
    module.train()
    return {"J": mean["J"]["mean"], "F": mean["F"]["mean"]}


if __name__ == "__main__":
    main()
