from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adnet.errors import UserError
from adnet.training.callbacks import Pruning, open_study

pytest.importorskip("optuna")


def trainer(value: float, step: int, rank: int = 0) -> Any:
    return SimpleNamespace(
        sanity_checking=False,
        callback_metrics={"val/J": value},
        global_step=step,
        is_global_zero=rank == 0,
        strategy=SimpleNamespace(broadcast=lambda decision: decision),
    )


def test_a_trial_below_the_median_is_ended(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    study = open_study(journal)
    module: Any = None
    for number, value in enumerate((0.5, 0.6, 0.7)):
        study.ask()
        callback = Pruning(str(journal), number, startup_trials=3)
        for step in (2, 4):
            callback.on_validation_end(trainer(value, step), module)
        study.tell(number, value)

    study.ask()
    callback = Pruning(str(journal), 3, startup_trials=3, warmup_steps=3)
    callback.on_validation_end(trainer(0.1, 2), module)  # too early
    with pytest.raises(UserError, match=r"pruned at step 4: val/J 0\.100 is below the median before"):
        callback.on_validation_end(trainer(0.1, 4), module)
    kept = open_study(journal).trials[3]
    assert (kept.state.name, kept.intermediate_values) == ("PRUNED", {2: 0.1, 4: 0.1})


def test_a_resumed_trial_reports_a_step_once(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    journal = tmp_path / "study.journal"
    open_study(journal).ask()
    module: Any = None
    for value in (0.5, 0.6):
        Pruning(str(journal), 0).on_validation_end(trainer(value, 2), module)
    Pruning(str(journal), 0).on_validation_end(trainer(0.9, 4, rank=1), module)
    assert open_study(journal).trials[0].intermediate_values == {2: 0.5}
    assert not [warning for warning in recwarn if "report" in str(warning.message)]
