"""Search for settings with Optuna."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from adnet.errors import UserError
from adnet.shared.command import quoted
from adnet.sweep.runner import Sweep, SweepJob
from adnet.training.callbacks import open_study


def run_search(config: DictConfig, context: HydraContext, arguments: Sequence[str]) -> None:
    """Run trials until `n_trials` have finished or been pruned; exit with code 1 if one failed.

    Searches over `hydra.sweeper.params` and the sweeps among `arguments`, in Hydra's grammar: `choice(a,b)` or `a,b`,
    `range(1,9)`, `interval(0.1,1)`, `int(interval(2,6))`, `tag(log,interval(1e-5,1e-2))`. An argument without a sweep
    removes its key from the search. A trial's value is its best `val/J`. Interrupted trials are resumed with the same
    values. Raises UserError without something to search, or held-out sequences to choose settings by.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = config.hydra.sweeper
    parser = OverridesParser.create(config_loader=context.config_loader)
    params = [f"{key}={value}" for key, value in settings.params.items()]
    overrides = {override.get_key_element(): override for override in parser.parse_overrides([*params, *arguments])}
    space = {key: _distribution(override) for key, override in overrides.items() if override.is_sweep_override()}
    fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
    if not space:
        raise UserError("nothing to search: give hydra.sweeper.params, or 'optim.optimizer.lr=interval(0.001,0.01)'")
    if not config.pairs.holdout and "pairs.holdout" not in space:
        raise UserError(
            "a search needs pairs.holdout=[SEQUENCE,...], training sequences to choose settings by, not those of the results"
        )

    sweep = Sweep(config, context)
    journal = sweep.folder / "optuna.journal"
    pruning = {"startup_trials": settings.startup_trials, "warmup_steps": settings.warmup_steps}

    def job(params: dict[str, Any], number: int) -> list[str]:
        target = "adnet.training.callbacks.Pruning"
        callback = {"_target_": target, "journal": quoted(str(journal)), "trial": number, **pruning}
        entries = ",".join(f"{key}:{value}" for key, value in callback.items())
        return [*fixed, *(f"{key}={value}" for key, value in params.items()), f"+callbacks.pruning={{{entries}}}"]

    # Check a single trial, because trials differ only in values.
    sweep.check(_name(0), job(optuna.create_study().ask(space).params, 0))
    sweep.begin()
    earlier = open_study(journal).trials
    # With the same seed, the study would try the same values again.
    study = open_study(journal, **pruning, seed=config.seed + len(earlier))
    rows = {trial.number: _earlier_row(sweep, trial) for trial in earlier if trial.state.name in ("COMPLETE", "PRUNED")}
    interrupted = [trial.number for trial in earlier if trial.state.name == "RUNNING"]
    budget = settings.n_trials - len(rows)
    while budget > 0:
        count = min(budget, settings.n_jobs)
        numbers = [interrupted.pop(0) if interrupted else _ask(study, space) for _ in range(count)]
        budget -= len(numbers)
        jobs = {_name(number): job(study.trials[number].params, number) for number in numbers}
        for number, row in zip(numbers, sweep.run(jobs, first=numbers[0]), strict=True):
            rows[number] = _tell(study, number, row)
    all_succeeded = sweep.finish([rows[number] for number in sorted(rows)])
    if any(trial.state.name == "COMPLETE" for trial in study.trials):
        best = study.best_trial
        settings_of_best = " ".join(f"{key}={value}" for key, value in best.params.items())
        print(f"best: val/J {100 * study.best_value:.1f}, {_name(best.number)}: {settings_of_best}")
    if not all_succeeded:
        sys.exit(1)


def _distribution(override: Override) -> BaseDistribution:
    """Return what to draw from. Raises UserError for a range that Optuna can't draw from, such as `tag(log,interval(0,10))`."""
    value: Any = override.value()
    log = "log" in getattr(value, "tags", ())
    try:
        if isinstance(value, IntervalSweep):
            # Hydra makes floats of an interval's ends, unless int(interval(...)) says that all of it is whole.
            whole = isinstance(value.start, int) and isinstance(value.end, int)
            return (IntDistribution if whole else FloatDistribution)(value.start, value.end, log=log)
        if isinstance(value, RangeSweep) and all(isinstance(end, int) for end in (value.start, value.stop, value.step)):
            last = value.start + (value.stop - 1 - value.start) // value.step * value.step
            return IntDistribution(value.start, last, step=value.step, log=log)
        # As text of the command line, because a choice may be a list, which Optuna cannot store.
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except ValueError as error:
        raise UserError(f"{override.input_line}: this can't be searched ({' '.join(str(error).split())})") from error


def _ask(study: optuna.Study, space: dict[str, BaseDistribution]) -> int:
    try:
        return study.ask(space).number
    except ValueError as error:
        raise UserError(f"the sweep is a search over other values ({error}): give another hydra.sweep.dir") from error


def _name(number: int) -> str:
    return f"trial-{number:03}"


def _earlier_row(sweep: Sweep, trial: optuna.trial.FrozenTrial) -> SweepJob:
    folder, pruned = str(sweep.folder / _name(trial.number)), trial.state.name == "PRUNED"
    return SweepJob(folder, "pruned" if pruned else "skipped", {"J": _best(trial), "F": None}, None, None, None)


def _best(trial: optuna.trial.FrozenTrial) -> float | None:
    return max((value for value in trial.intermediate_values.values() if not math.isnan(value)), default=None)


def _tell(study: optuna.Study, number: int, row: SweepJob) -> SweepJob:
    """Tell the study how a trial ended, unless it knows; return the row with the trial's value and state."""
    trial = study.trials[number]
    value = _best(trial)
    if trial.state.name == "PRUNED":
        return replace(row, status="pruned", scores={"J": value, "F": None})
    if row.status in ("finished", "skipped") and value is not None:
        study.tell(number, value)
    elif row.status in ("finished", "skipped", "failed"):
        study.tell(number, state=optuna.trial.TrialState.FAIL)
        row = replace(row, status="failed", reason=row.reason or "there was no validation")
    return replace(row, scores={"J": value, "F": None})
