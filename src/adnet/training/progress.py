"""Show the progress of a training: one bar over all steps in a terminal, otherwise a line for each validation."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm


class Progress(ProgressBar):
    """Show the step, the last loss and the last validation. The loss is copied from the device only when it is shown.

    Args:
        refresh_rate: steps between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__()
        self._refresh_rate = refresh_rate
        self._bar: Any = None

    def disable(self) -> None:
        """Show nothing. Lightning calls this on every rank but the first."""
        self._refresh_rate = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        if self._refresh_rate:
            self._bar = tqdm(
                desc="training", total=trainer.max_steps, initial=trainer.global_step, unit="step", disable=None
            )

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._bar is not None and not self._bar.disable and trainer.global_step % self._refresh_rate == 0:
            self._update(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._bar is not None and self._bar.disable:
            print(f"step {trainer.global_step} of {trainer.max_steps}: {_scores(trainer)}", flush=True)

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self._bar is not None:
            self._update(trainer)
            self._bar.close()

    def on_exception(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def _update(self, trainer: L.Trainer) -> None:
        self._bar.set_postfix_str(_scores(trainer), refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)


def _scores(trainer: L.Trainer) -> str:
    found = ((name, trainer.callback_metrics.get(name)) for name in ("train/loss", "val/J", "val/F"))
    return ", ".join(f"{name} {float(value):.3f}" for name, value in found if value is not None)
