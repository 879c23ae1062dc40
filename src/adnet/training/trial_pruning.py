"""Stop those trials of an Optuna search that fall behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L

from adnet.errors import UserError

if TYPE_CHECKING:
    import optuna


class Pruned(UserError):  # noqa: N818 (this is a state of a trial, not an error)
    """Raised to end a trial that its search has pruned."""


class Pruning(L.Callback):
    """Report `val/J` to a study on disk after each validation; end the run if it is below the median of the other trials.

    Args:
        journal: the study's file.
        trial: number of this run's trial, which the study has started.
        startup_trials: number of trials that must finish before any is pruned.
        warmup_steps: optimiser steps before which no trial is pruned.
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
            raise Pruned(
                f"pruned at step {trainer.global_step}: val/J {value:.3f} is below the median of the trials before"
            )

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
    """Open the study in the file `journal`, which any number of processes can share; create it if it does not exist.

    Larger values are better.
    """
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
