"""Save checkpoints from which an interrupted run resumes bit by bit, also when a signal stops it."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from torch.nn.utils import get_total_norm

from adnet.errors import UserError
from adnet.shared.machine import handling
from adnet.training.finite_loss import FiniteLoss

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)


class Checkpoints(ModelCheckpoint):
    """Save `last.ckpt` every `every_steps` steps, and `best.ckpt` after each epoch that is the best by `monitor`.

    `last.ckpt` is written at the start of a step, when the steps before it are done and logged, so that a resumed run ends
    with exactly the same weights. The one before it is kept as `previous.ckpt`.

    On SIGTERM, Ctrl-C and SIGUSR1 (which `sbatch --signal=USR1@90` sends before the time limit), the run saves before the
    next step and exits with code 128 + signal; after SIGUSR1, the Slurm job is queued again. If another handler of the signal
    is installed (by submitit), it is called after the checkpoint is saved. A second Ctrl-C doesn't wait.
    """

    def __init__(self, dirpath: str, every_steps: int, monitor: Literal["val/J", "val/F"] = "val/J") -> None:
        options: Any = {"mode": "max", "save_on_train_epoch_end": True, "enable_version_counter": False}
        super().__init__(dirpath, filename="best", monitor=monitor, **options)
        self._every_steps = every_steps
        self._devices = 1
        self.seconds_before = 0.0
        """Seconds of training up to the checkpoint from which this process resumed."""
        self._started = 0.0
        self._saved_step = 0
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for message in ("Checkpoint directory .* is not empty", ".*your dataloader is not resumable"):
            warnings.filterwarnings("ignore", message)  # ours is resumable: the pairs are a function of the step
        super().setup(trainer, pl_module, stage)
        self._devices = trainer.world_size
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        # Noted before Lightning installs its own handlers.
        self._handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def on_load_checkpoint(self, trainer: L.Trainer, _: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Set the progress of the loops from `global_step`, which Lightning restores incompletely within an epoch."""
        self._saved_step = checkpoint["global_step"]
        epoch, step = divmod(self._saved_step, trainer.datamodule.epoch_steps)  # type: ignore[attr-defined]
        loops = checkpoint["loops"]["fit_loop"]
        loops["epoch_progress"] = _progress(epoch, epoch)
        batches = (number * trainer.accumulate_grad_batches for number in (self._saved_step, step))
        loops["epoch_loop.batch_progress"] = _progress(*batches) | {"is_last_batch": False}

    def state_dict(self) -> dict[str, Any]:
        seconds = self.seconds_before + time.monotonic() - self._started
        return super().state_dict() | {"seconds": seconds, "devices": self._devices}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state. Raises UserError if `devices=auto` gives another number of devices than at the start."""
        if (before := state_dict.get("devices", self._devices)) != self._devices:
            raise UserError(
                f"the run began on {before} devices (trainer.devices times trainer.num_nodes) and would resume on "
                f"{self._devices}, which split a batch differently: use {before} again, or another hydra.run.dir"
            )
        self.seconds_before = state_dict.get("seconds", 0.0)
        # The folder may have been moved in the meantime.
        moved: dict[str, Any] = {"dirpath": self.dirpath}
        if state_dict["best_k_models"]:
            best = f"{self.dirpath}/{BEST}"
            moved |= {"best_model_path": best, "kth_best_model_path": best}
            moved["best_k_models"] = {best: state_dict["best_model_score"]}
        super().load_state_dict(state_dict | moved)
        self.current_score = state_dict["current_score"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._started = time.monotonic()
        if trainer.received_sigterm:  # by Lightning's handler, which would exit with code 0 and without a checkpoint
            self._signal, trainer._signal_connector.received_sigterm = signal.SIGTERM, False
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if number != signal.SIGUSR2 or callable(handler):
                    signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        if number == self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number

    def on_train_batch_start(self, trainer: L.Trainer, _: L.LightningModule, __: Any, batch_idx: int) -> None:
        # The step number that loggers get; Lightning sets it one too high in a resumed run.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        if batch_idx % trainer.accumulate_grad_batches:
            return
        save, stop = trainer.global_step % self._every_steps == 0, self._signal is not None
        if save or trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            stop = self._any_stops(trainer, stop)
        elif trainer.world_size > 1:
            stop = False  # not yet: a signal may have reached only one of the processes, and all must stop together
        if stop or save:
            self._save_last(trainer)
        if stop:
            self._stop(trainer)

    @staticmethod
    def _any_stops(trainer: L.Trainer, stop: bool) -> bool:
        """Return whether any process is to stop, in one reduction with the check of the losses if there is one."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FiniteLoss):
                return callback.check(trainer, stop)
        return trainer.strategy.reduce_boolean_decision(stop, all=False)

    def on_train_end(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        self._save_last(trainer)

    def _save_last(self, trainer: L.Trainer) -> None:
        # Weights that are not finite are not saved; the next loss stops the run.
        finite = bool(get_total_norm(trainer.lightning_module.parameters()).isfinite())
        if trainer.global_step > self._saved_step and trainer.strategy.reduce_boolean_decision(finite):
            self.last_model_path = f"{self.dirpath}/{LAST}"
            self._save_checkpoint(trainer, self.last_model_path)
            self._saved_step = trainer.global_step

    def _stop(self, trainer: L.Trainer) -> None:
        any_process = trainer.strategy.reduce_boolean_decision
        number = next(number for number in self._handlers if any_process(self._signal == number, all=False))
        self._signal = None
        handler = self._handlers[number]
        if callable(handler) and handler not in (signal.default_int_handler, requeue_and_leave):
            handler(number, None)
            return
        if trainer.is_global_zero:
            _say_stopped(number, f" after step {trainer.global_step}, which is saved")
        raise SystemExit(128 + number)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a draft beside the file, flush it to disk, then rename it; the old `last.ckpt` becomes `previous.ckpt`.

    Lightning's own class moves a file from the system's temporary folder, which between disks is a copy and not atomic.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,  # noqa: ARG002 (for remote file systems)
    ) -> None:
        """Write `checkpoint` to `path`. Raises UserError if that fails; earlier checkpoints stay intact."""
        path = Path(path)
        draft = path.with_name(f".{path.name}.draft")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.is_file():
                os.replace(path, path.with_name(PREVIOUS))
            os.replace(draft, path)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                draft.unlink()
            intact = "the earlier checkpoints are intact: free some space, and repeat the command"
            raise UserError(f"cannot write {path}: {_reason(error)}; {intact}") from error


def _reason(error: BaseException) -> str:
    """Return the system's message, which PyTorch wraps in its own errors."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return str((cause and cause.strerror) or error).splitlines()[0]


def _progress(total: int, current: int) -> dict[str, Any]:
    stages = ("ready", "started", "processed", "completed")
    return {"total": dict.fromkeys(stages, total), "current": dict.fromkeys(stages, current)}


def requeued() -> AbstractContextManager[None]:
    """Queue a Slurm job again if SIGUSR1 comes while the run prepares or is evaluated; while it trains, `Checkpoints` does."""
    return handling(signal.SIGUSR1, requeue_and_leave) if _slurm_job() is not None else nullcontext()


def requeue_and_leave(number: int, _: Any) -> None:
    """Handle SIGUSR1 outside of training, where there is nothing new to save: queue the job again and exit."""
    if not getattr(rank_zero_only, "rank", 0):  # set by Lightning
        _say_stopped(number, "")
    raise SystemExit(128 + number)


def _say_stopped(number: int, when: str) -> None:
    """Say on stderr what stopped the run and what continues it: after SIGUSR1 the Slurm job, which is queued again here."""
    then, job = "the same command continues from there", _slurm_job()
    if number == signal.SIGUSR1 and job:
        try:
            subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True)
            then = f"Slurm job {job} is in the queue again"
        except (OSError, subprocess.CalledProcessError) as error:
            then = f"Slurm job {job} could not be queued again ({error}); {then}"
    print(f"\nadnet: stopped by {signal.Signals(number).name}{when}; {then}", file=sys.stderr)


def _slurm_job() -> str | None:
    """Return this job's name for `scontrol`, which in a job array differs from its number."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")
