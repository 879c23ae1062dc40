"""Check within minutes whether training works on this machine's GPU: compare the losses of each mode with the CPU's."""

import io
import logging
import math
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch.utils.collect_env import get_env_info

from adnet.benchmark.device import float32
from adnet.shared.command import resolved
from adnet.shared.machine import git_commit, versions
from adnet.shared.run_folder import read_metrics
from adnet.training.callbacks import can_compile
from adnet.training.run import train

TOLERANCE, TOLERANCES = 1e-3, {"tf32": 1e-2, "bf16": 5e-2, "two_ranks": 5e-2}
"""Largest allowed difference of a step's loss from the CPU's in float32, as a share of it: chosen, not measured.

On CPUs, each of two ranks has its own batch statistics."""


class Skipped(Exception):  # noqa: N818 (it is not an error)
    """Raised by a check that is impossible on this machine, with the reason."""


@dataclass
class _Training:
    """The training that each check repeats in its own way: its overrides on a GPU or a CPU, and its losses on the CPU in float32."""

    overrides: list[str]
    gpu: bool
    folder: Path
    steps: int
    losses: list[float] = field(default_factory=list)

    def run(self, name: str, *more: str, tf32: bool = False, gpu: bool | None = None) -> list[float]:
        """Train in the folder `name`, with `more` overrides; return the loss of each step."""
        device = f"trainer.accelerator={'gpu' if (self.gpu if gpu is None else gpu) else 'cpu'}"
        folder = self.folder / name
        precision = f"callbacks.on_gpu.matmul_precision={'high' if tf32 else 'highest'}"
        cfg = hydra.compose("train", [*self.overrides, device, precision, f"run_dir={folder}", *more])
        with float32(tf32), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning warns that there is no validation
            train(resolved(cfg), folder)
        return _losses(folder)


class CompileGraph(Callback):
    """Compile the network on a CPU up to, but without, the generation of code, which would take minutes."""

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        pl_module.compile_network("aot_eager")


def run(cfg: DictConfig) -> dict[str, Any]:
    """Run all checks, without a GPU on the CPU; print and return the result, the reason and the losses of each."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    gpu = torch.cuda.is_available() and not cfg.gpu_check.cpu
    if gpu:
        print(f"{torch.cuda.get_device_name()}: losses of each mode of training, compared with the CPU's")
    else:
        print("on the CPU: TF32, NCCL, CUDA kernels and the code that torch.compile generates are not checked")
    backbone, steps = ("resnet101", 4) if gpu else ("resnet10t", 2)
    started = time.perf_counter()
    with TemporaryDirectory() as scratch:
        training = _Training(_overrides(backbone, steps, gpu, Path(scratch)), gpu, Path(scratch), steps)
        training.losses = training.run("cpu", gpu=False)
        checks = {name: _run_check(name, check, training) for name, check in CHECKS.items()}
    failed = [name for name, check in checks.items() if check["result"] == "failed"]
    print(f"{len(failed)} of {len(checks)} checks failed, in {time.perf_counter() - started:.0f} s")
    return {
        "half": "gpu" if gpu else "cpu",
        "failed": failed,
        "backbone": backbone,
        "cpu_losses": training.losses,
        "checks": checks,
        "environment": get_env_info()._asdict(),  # type: ignore[no-untyped-call]
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(),
        "versions": versions(),
    }


def _overrides(backbone: str, steps: int, gpu: bool, folder: Path) -> list[str]:
    # Without dropout, whose random numbers differ between devices.
    height, width = (121, 217) if gpu else (33, 57)
    overrides = f"""
        data=synthetic data.train=2 data.val=2 data.frames=4
        scale=smoke optim=sgd callbacks=default seed=0 steps={steps} epoch_steps={steps} test_at_end=false
        model=full model.encoder.backbone={backbone} model.dropout=0 model.encoder.dropout=0
        model.encoder.pretrained=false model.encoder.multi_grid=null model.encoder.freeze_batch_norm=false
        pairs.augmentation.crop_size=[{height},{width}] pairs.batch_size=4 pairs.workers=0
        ~callbacks.progress +trainer.enable_progress_bar=false +trainer.limit_val_batches=0 trainer.log_every_n_steps=1
        callbacks.on_gpu.compiled=false
    """.split()
    return [*overrides, f"data.root={folder / 'videos'}"]


def _run_check(name: str, check: Callable[[_Training], list[float]], training: _Training) -> dict[str, Any]:
    started, tolerance = time.perf_counter(), TOLERANCES.get(name, TOLERANCE)
    result: dict[str, Any] = {"tolerance": tolerance}
    try:
        losses = check(training)
        expected = training.losses[-len(losses) :]
        largest = max(abs(loss - other) / other for loss, other in zip(losses, expected, strict=True))
        good = all(map(math.isfinite, losses)) and largest <= tolerance
        limit = f"{'no more' if good else 'more'} than {tolerance:g}"
        why = f"losses differ by up to {largest:.1e} of the CPU's in float32, {limit}"
        result |= {"result": "passed" if good else "failed", "why": why}
        result |= {"losses": losses, "largest_difference": largest}
    except Skipped as skipped:
        result |= {"result": "skipped", "why": str(skipped)}
    except Exception as error:  # finding any error of the device is the purpose of the check
        result |= {"result": "failed", "why": f"{type(error).__name__}: {error}"}
    result["seconds"] = round(time.perf_counter() - started, 1)
    reason = result["why"].splitlines()[0]
    print(f"  {name:<14} {result['result']:<8} {result['seconds']:5.1f} s   {reason}", flush=True)
    return result


def _tf32(training: _Training) -> list[float]:
    if not training.gpu or torch.cuda.get_device_capability() < (8, 0):
        raise Skipped("TF32 needs an NVIDIA GPU of compute capability 8.0")
    return training.run("tf32", tf32=True)


def _compile(training: _Training) -> list[float]:
    if not training.gpu:
        return training.run("compile", f"+callbacks.compile._target_={__name__}.{CompileGraph.__name__}")
    if not can_compile():
        raise Skipped("torch.compile needs Triton and a C compiler, and one of them is missing")
    return training.run("compile", "callbacks.on_gpu.compiled=true")


def _resume(training: _Training) -> list[float]:
    half = training.steps // 2
    training.run("resume", f"trainer.max_steps={half}", f"checkpoint_steps={half}")
    return training.run("resume", f"checkpoint_steps={half}")[half:]


def _two_ranks(training: _Training) -> list[float]:
    if training.gpu and torch.cuda.device_count() < 2:
        raise Skipped("NCCL needs two GPUs, and there is one")
    folder = training.folder / "two_ranks"
    accelerator = f"trainer.accelerator={'gpu' if training.gpu else 'cpu'}"
    trainer = ["trainer=ddp", "trainer.devices=2", accelerator]
    command = [sys.executable, "-m", "adnet.train", *training.overrides, *trainer, f"hydra.run.dir={folder}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if ended.returncode:
        raise RuntimeError(f"adnet.train ended with {ended.returncode}: {ended.stderr[-2000:].strip()}")
    losses = _losses(folder)
    if len(losses) != training.steps:
        raise RuntimeError(f"{len(losses)} losses were logged, not {training.steps}")
    return losses


CHECKS: dict[str, Callable[[_Training], list[float]]] = {
    "fp32": lambda training: training.run("fp32"),
    "tf32": _tf32,
    "bf16": lambda training: training.run("bf16", "trainer.precision=bf16"),
    "compile": _compile,
    "checkpointing": lambda training: training.run("checkpointing", "model.encoder.checkpoint_activations=true"),
    "resume": _resume,
    "two_ranks": _two_ranks,
}


def _losses(folder: Path) -> list[float]:
    return [float(row["train/loss"]) for row in read_metrics(folder / "metrics.csv") if "train/loss" in row]
