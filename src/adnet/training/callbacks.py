"""Callbacks that log how a training goes, show its progress, make it faster on a GPU, and stop a search's trials that fall behind."""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from tqdm import tqdm

from adnet.data.pairs import TrainingPair
from adnet.errors import UserError
from adnet.models.recomputation import recomputes

if TYPE_CHECKING:
    import optuna

LONG = 5000
"""Smallest number of steps for which compiling, which takes minutes, pays off."""


class Throughput(Callback):
    """Log `train/pairs_per_second` (over all devices) and `train/data_wait` (share of time spent waiting for pairs).

    Both are means over the last `window` batches, without validation. `train/memory_gib` is the peak so far: of
    PyTorch's memory on this process's GPU, or on a CPU of the whole process.
    """

    def __init__(self, window: int = 10) -> None:
        self._batches: deque[tuple[int, float, float]] = deque(maxlen=window)
        """For each batch: number of pairs, seconds, and seconds spent waiting."""
        self._ended = self._began = 0.0

    def means(self) -> tuple[float, float]:
        """Return the pairs per second of this device, and the share of the time spent waiting for pairs, in [0, 1]."""
        pairs, seconds, waited = map(sum, zip(*self._batches, strict=True))
        return pairs / seconds, waited / seconds

    def on_train_epoch_start(self, *_: Any) -> None:
        self._ended = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, _: Any, batch: TrainingPair, *__: Any
    ) -> None:
        now = time.perf_counter()
        self._batches.append((len(batch["mask"]), now - self._ended, self._began - self._ended))
        self._ended = now
        pairs_per_second, data_wait = self.means()
        # Not numbers, which Lightning would copy to the GPU and wait for.
        pl_module.log("train/pairs_per_second", torch.tensor(pairs_per_second * trainer.world_size))
        pl_module.log("train/data_wait", torch.tensor(data_wait))
        pl_module.log("train/memory_gib", torch.tensor(_peak_gib(batch["mask"].device)))

    def on_validation_end(self, *_: Any) -> None:
        # Do not count a validation in the middle of an epoch.
        self._ended = time.perf_counter()


def _peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**30 if sys.platform == "darwin" else 2**20)  # macOS counts bytes, other systems KiB


class GradientNorm(Callback):
    """Log `train/gradient_norm`: the L2 norm over all parameters, for the whole batch, before any clipping."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, _: Optimizer) -> None:
        if (trainer.global_step + 1) % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined] # other steps are not logged
            gradients = (parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None)
            pl_module.log("train/gradient_norm", get_total_norm(gradients))


class Progress(ProgressBar):
    """Show step, loss and validation: one bar over all steps in a terminal, otherwise a line for each validation.

    The loss is copied from the device only when it is shown.

    Args:
        refresh_rate: steps between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__()
        self._refresh_rate = refresh_rate
        self._bar: Any = tqdm(disable=True)

    def disable(self) -> None:
        """Show nothing. Lightning calls this on every rank but the first."""
        self._refresh_rate = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        if self._refresh_rate:
            self._bar = tqdm(
                desc="training", total=trainer.max_steps, initial=trainer.global_step, unit="step", disable=None
            )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if not self._bar.disable and trainer.global_step % self._refresh_rate == 0:
            self._update(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._refresh_rate and self._bar.disable:
            print(f"step {trainer.global_step} of {trainer.max_steps}: {_scores(trainer)}", flush=True)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._update(trainer)
        self._bar.close()

    def on_exception(self, *_: Any) -> None:
        self._bar.close()

    def _update(self, trainer: L.Trainer) -> None:
        self._bar.set_postfix_str(_scores(trainer), refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)


def _scores(trainer: L.Trainer) -> str:
    found = ((name, trainer.callback_metrics.get(name)) for name in ("train/loss", "val/J", "val/F"))
    return ", ".join(f"{name} {float(value):.3f}" for name, value in found if value is not None)


class OnGPU(Callback):
    """Set up a training on a GPU. Does nothing on other devices.

    Args:
        matmul_precision: of `torch.set_float32_matmul_precision`: `high` is TF32, as in cuDNN's convolutions, `highest` float32.
        compiled: compile the network in the first step; None: if there are `LONG` steps or more. Never done with several devices
            (synchronised batch norm), recomputed blocks (compiling would undo that), or without Triton or a C compiler.
    """

    def __init__(
        self, matmul_precision: Literal["highest", "high", "medium"] = "high", compiled: bool | None = None
    ) -> None:
        self._matmul_precision = matmul_precision
        self._compiled = compiled

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Set precision and compile. Lightning calls this on each process before it moves the network to its device."""
        if trainer.strategy.root_device.type != "cuda" or stage != "fit":
            return
        torch.set_float32_matmul_precision(self._matmul_precision)
        possible = trainer.world_size == 1 and not recomputes(pl_module.model) and can_compile()  # type: ignore[arg-type]
        wanted = trainer.max_steps >= LONG if self._compiled is None else self._compiled
        if wanted and possible:
            pl_module.compile_network()  # type: ignore[operator]


def can_compile() -> bool:
    """Return whether `torch.compile` can generate code for a GPU here: with Triton and a C compiler."""
    return find_spec("triton") is not None and any(map(shutil.which, ("cc", "gcc", "clang")))


class Pruned(UserError):  # noqa: N818 (this is a state of a trial, not an error)
    """Raised to end a trial that its search has pruned."""


class Pruning(Callback):
    """Report each `val/J` to the study in `journal`; end the run if it is below the median of other trials.

    `trial` is this run's number there. None is pruned before `startup_trials` have finished, nor in its first
    `warmup_steps` steps.
    """

    def __init__(self, journal: str, trial: int, startup_trials: int = 5, warmup_steps: int = 0) -> None:
        self._study = open_study(Path(journal), startup_trials, warmup_steps)
        self._number = trial

    def on_validation_end(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        value = float(trainer.callback_metrics["val/J"])
        prune = self._report(value, trainer.global_step) if trainer.is_global_zero else False
        if trainer.strategy.broadcast(prune):
            raise Pruned(f"pruned at step {trainer.global_step}: val/J {value:.3f} is below the median before")

    def _report(self, value: float, step: int) -> bool:
        import optuna

        trial = optuna.trial.Trial(self._study, self._study.trials[self._number]._trial_id)
        if step not in self._study.trials[self._number].intermediate_values:  # a resumed run may have reported it
            trial.report(value, step)
        if not trial.should_prune():
            return False
        self._study.tell(self._number, state=optuna.trial.TrialState.PRUNED)
        return True


def open_study(journal: Path, startup_trials: int = 5, warmup_steps: int = 0, seed: int | None = None) -> optuna.Study:
    """Open, or create, the study in the file `journal`, which processes can share; larger values are better."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(JournalFileBackend(str(journal))),
        study_name="adnet",
        direction="maximize",
        load_if_exists=True,
        # `constant_liar`: otherwise concurrent trials try the same values.
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(startup_trials, warmup_steps),
    )
