"""Check within minutes whether training works on this machine's GPU: compare the losses of each mode with the CPU's."""

from __future__ import annotations

import csv
import logging
import math
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from adnet.benchmark.device import float32
from adnet.data.datamodule import PairDataModule
from adnet.data.sequence import VideoDataset
from adnet.models import ADNet
from adnet.models.recomputation import recompute_blocks
from adnet.training import SegmentationModule
from adnet.training.checkpoints import LAST, Checkpoints
from adnet.training.finite_loss import FiniteLoss
from adnet.training.on_gpu import can_compile
from adnet.training.provenance import git_commit, versions

TOLERANCES = {
    "fp32": 1e-3,
    "tf32": 1e-2,
    "bf16": 5e-2,
    "compile": 1e-3,
    "checkpointing": 1e-3,
    "resume": 1e-3,
    "two_ranks": 5e-2,  # on CPUs, each half of a batch has its own batch statistics
}
"""Largest allowed difference of a step's loss from the CPU's in float32, relative to the latter: chosen, not measured."""


class Skipped(Exception):  # noqa: N818 (it is not an error)
    """Raised by a check that is impossible on this machine, with the reason."""


@dataclass
class _Training:
    """The training that each check repeats in its own way. `losses`: the CPU's in float32."""

    cfg: DictConfig
    overrides: list[str]
    dataset: VideoDataset
    model: ADNet
    gpu: bool
    folder: Path
    steps: int
    losses: list[float] = field(default_factory=list)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Run all checks; print and return the result of each (`passed`, `failed` or `skipped`), its reason and its losses.

    `failed` lists the failed checks. Without a GPU, the checks run on the CPU as far as possible.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    gpu = torch.cuda.is_available() and not cfg.gpu_check.cpu
    if gpu:
        print(f"{torch.cuda.get_device_name()}: losses of each mode of training, compared with the CPU's")
    else:
        print("on the CPU: TF32, NCCL, CUDA kernels and the code that torch.compile generates are not checked")
    started = time.perf_counter()
    with TemporaryDirectory() as scratch:
        training = _compose(cfg, Path(scratch), gpu)
        training.losses = _fit(training, gpu=False)
        checks = {name: _run_check(name, check, training) for name, check in CHECKS.items()}
    failed = [name for name, check in checks.items() if check["result"] == "failed"]
    print(f"{len(failed)} of {len(checks)} checks failed, in {time.perf_counter() - started:.0f} s")
    return {
        "half": "gpu" if gpu else "cpu",
        "failed": failed,
        "backbone": training.model.encoder.backbone_name,
        "cpu_losses": training.losses,
        "checks": checks,
        "device": _device(gpu),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.processor(),
            "threads": torch.get_num_threads(),
        },
        "git_commit": git_commit(),
        "versions": versions(),
    }


def _compose(cfg: DictConfig, folder: Path, gpu: bool) -> _Training:
    options = cfg.gpu_check
    height, width = (121, 217) if gpu else (33, 57)
    steps = options.steps or (4 if gpu else 2)
    # Without dropout, whose random numbers differ between devices.
    overrides = f"""
        data=synthetic data.train=2 data.val=2 data.frames=4
        scale=smoke optim=sgd callbacks=default seed=0 steps={steps} epoch_steps=${{steps}} test_at_end=false
        model=full model.encoder.backbone={options.backbone or ("resnet101" if gpu else "resnet10t")} model.dropout=0
        model.encoder.pretrained=false model.encoder.multi_grid=null model.encoder.freeze_batch_norm=false
        model.encoder.dropout=0
        pairs.augmentation.crop_size=[{height},{width}] pairs.batch_size=4 pairs.workers=0
    """.split()
    overrides.append(f"data.root={folder / 'videos'}")
    settings = hydra.compose("train", overrides)
    dataset = instantiate(settings.data, split="train")
    L.seed_everything(settings.seed, workers=True, verbose=False)
    return _Training(settings, overrides, dataset, instantiate(settings.model), gpu, folder, steps)


def _run_check(name: str, check: Callable[[_Training], list[float]], training: _Training) -> dict[str, Any]:
    started, tolerance = time.perf_counter(), TOLERANCES[name]
    result: dict[str, Any] = {"tolerance": tolerance}
    try:
        losses = check(training)
        expected = training.losses[-len(losses) :]
        largest = max(abs(loss - other) / other for loss, other in zip(losses, expected, strict=False))
        good = all(map(math.isfinite, losses)) and largest <= tolerance
        limit = "no more than" if good else "more than"
        why = f"losses differ by up to {largest:.1e} of the CPU's in float32, {limit} {tolerance:g}"
        result |= {
            "result": "passed" if good else "failed",
            "why": why,
            "losses": losses,
            "largest_difference": largest,
        }
    except Skipped as reason:
        result |= {"result": "skipped", "why": str(reason)}
    except Exception as error:  # finding any error of the device is the purpose of the check
        result |= {"result": "failed", "why": f"{type(error).__name__}: {error}"}
    result["seconds"] = round(time.perf_counter() - started, 1)
    print(
        f"  {name:<14} {result['result']:<8} {result['seconds']:5.1f} s   {result['why'].splitlines()[0]}", flush=True
    )
    return result


def _tf32(training: _Training) -> list[float]:
    if not training.gpu:
        raise Skipped("only NVIDIA's GPUs have TF32")
    if torch.cuda.get_device_capability() < (8, 0):
        raise Skipped("this GPU has no TF32, which needs compute capability 8.0")
    return _fit(training, True, tf32=True)


def _compile(training: _Training) -> list[float]:
    if not training.gpu:  # generating code would take minutes, and trainings on the CPU do not use it
        return _fit(training, False, compiled="aot_eager")
    if not can_compile():
        raise Skipped("torch.compile needs Triton and a C compiler, and one of them is missing")
    return _fit(training, True, compiled="inductor")


def _resume(training: _Training) -> list[float]:
    """Train half of the steps, then resume from the checkpoint; return the losses of the second half."""
    folder = training.folder / "checkpoints"
    _fit(training, training.gpu, steps=training.steps // 2, folder=folder)
    return _fit(training, training.gpu, folder=folder, resume=True)


def _two_ranks(training: _Training) -> list[float]:
    """Run `adnet.train trainer=ddp` in new processes; return the losses that it logs."""
    if training.gpu and torch.cuda.device_count() < 2:
        raise Skipped("NCCL needs two GPUs, and there is one")
    folder = training.folder / "two_ranks"
    accelerator = f"trainer.accelerator={'gpu' if training.gpu else 'cpu'}"
    trainer = ["trainer=ddp", "trainer.devices=2", accelerator, "trainer.log_every_n_steps=1"]
    command = [sys.executable, "-m", "adnet.train", *training.overrides, *trainer, f"hydra.run.dir={folder}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if ended.returncode:
        raise RuntimeError(f"adnet.train ended with {ended.returncode}: {ended.stderr[-2000:].strip()}")
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        losses = [float(row["train/loss"]) for row in csv.DictReader(lines) if row["train/loss"]]
    if len(losses) != training.steps:
        raise RuntimeError(f"{len(losses)} losses were logged, not {training.steps}")
    return losses


CHECKS: dict[str, Callable[[_Training], list[float]]] = {
    "fp32": lambda training: _fit(training, training.gpu),
    "tf32": _tf32,
    "bf16": lambda training: _fit(training, training.gpu, precision="bf16-mixed"),
    "compile": _compile,
    "checkpointing": lambda training: _fit(training, training.gpu, recomputed=True),
    "resume": _resume,
    "two_ranks": _two_ranks,
}


class _Losses(Callback):
    def __init__(self) -> None:
        self.losses: list[Any] = []

    def on_train_batch_end(self, _: L.Trainer, __: L.LightningModule, outputs: Any, *___: Any) -> None:
        self.losses.append(outputs["loss"])


def _fit(
    training: _Training,
    gpu: bool,
    precision: Any = "32-true",
    tf32: bool = False,
    compiled: str | None = None,
    recomputed: bool = False,
    steps: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> list[float]:
    """Train a copy of the network; return the loss of each step."""
    cfg = training.cfg
    parts = (instantiate(cfg.optim.optimizer), instantiate(cfg.optim.schedule), cfg.optim.new_layers_lr)
    module = SegmentationModule(deepcopy(training.model), *parts, loss=instantiate(cfg.loss))
    # A partial, because Hydra would convert the datasets if they were its arguments.
    data: PairDataModule = instantiate(cfg.pairs, _partial_=True)(train=training.dataset, val=training.dataset)
    if recomputed:
        recompute_blocks(module.model.encoder.backbone)
    if compiled:
        module.compile_network(compiled)
    losses = _Losses()
    callbacks = [losses, *([Checkpoints(str(folder), 1), FiniteLoss(str(folder))] if folder else [])]
    trainer = L.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        precision=precision,
        max_steps=steps or training.steps,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with float32(tf32), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning warns that there is no validation
        trainer.fit(module, data, ckpt_path=str(folder / LAST) if resume and folder else None, weights_only=True)
    return [float(loss) for loss in losses.losses]


def _device(gpu: bool) -> dict[str, Any] | None:
    if not gpu:
        return None
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "count": torch.cuda.device_count(),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None,  # type: ignore[no-untyped-call]
    }
