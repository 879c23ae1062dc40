from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from adnet.sweep.runner import Sweep
from adnet.training.callbacks import open_study

pytest.importorskip("optuna")
from adnet.sweep import search


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("choice([65,113],[97,169])", {"[65,113]", "[97,169]"}),
        ("64,128", {"64", "128"}),
        ("range(1,6,2)", {1, 3, 5}),
        ("int(interval(2,6))", {2, 3, 4, 5, 6}),
        ("tag(log,int(interval(1,3)))", {1, 2, 3}),
        ("true,false", {"true", "false"}),
    ],
)
def test_discrete_spaces(words: str, values: set[Any]) -> None:
    distribution = search._distribution(OverridesParser.create().parse_override(f"a={words}"))
    if hasattr(distribution, "choices"):
        assert {str(choice).lower() for choice in distribution.choices} == values
    else:
        assert set(range(distribution.low, distribution.high + 1, distribution.step)) == values


def test_continuous_spaces() -> None:
    distribution = search._distribution(OverridesParser.create().parse_override("a=tag(log,interval(0.001,1))"))
    assert (distribution.low, distribution.high, distribution.log) == (0.001, 1.0, True)
    distribution = search._distribution(OverridesParser.create().parse_override("a=interval(0,1)"))
    assert (distribution.low, distribution.high, distribution.log) == (0.0, 1.0, False)


@pytest.fixture
def search_of(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """A search whose jobs are functions of their overrides: they report to the study, and end as they return."""

    def call(job: Callable[[int, dict[str, str]], str], *arguments: str) -> Any:
        def launch(self: Sweep, jobs: dict[str, list[str]], _: int) -> None:
            for name, overrides in jobs.items():
                (folder := self.folder / name).mkdir(parents=True, exist_ok=True)
                status = job(int(name.removeprefix("trial-")), dict(o.split("=", 1) for o in overrides))
                if status == "killed":
                    raise KeyboardInterrupt
                outcome = {"overrides": overrides, "status": status, "log": "log.txt", "seconds": 1}
                outcome["reason"] = "why" if status == "failed" else None
                (folder / "job.json").write_text(json.dumps(outcome))
                if status == "finished":
                    (folder / "summary.json").write_text('{"J": null, "F": null}')

        monkeypatch.setattr(Sweep, "_launch", launch)
        from adnet import train

        return run(
            train.main,
            "-m",
            "hparams=optuna_lite",
            "scale=lite",
            "pairs.holdout=[bear]",
            f"hydra.sweep.dir={tmp_path}/sweep",
            *arguments,
        )

    return call


def report(folder: Path, number: int, value: float) -> None:
    import optuna

    study = open_study(folder / "optuna.journal")
    optuna.trial.Trial(study, study.trials[number]._trial_id).report(value, 10)


def test_a_search_is_finished_where_it_was_cut_off(search_of: Callable[..., Any], tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, str]]] = []

    def job(number: int, overrides: dict[str, str]) -> str:
        seen.append((number, overrides))
        if len(seen) == 3:
            return "killed"
        if len(seen) == 2:
            return "failed"
        report(tmp_path / "sweep", number, 0.1 * (number + 1))
        return "finished"

    arguments = ("hydra.sweeper.n_trials=3", "pairs.augmentation.crop_size=[65,113]")
    ended = search_of(job, *arguments)
    assert (ended.code, ended.err) == (130, "adnet: stopped by the user\n")
    ended = search_of(job, *arguments)
    assert ended.code == 0, ended.err
    numbers = [number for number, _ in seen]
    assert numbers == [0, 1, 2, 2, 3]  # the third goes on; a failed one is replaced
    assert seen[2][1] == seen[3][1]
    assert "2 finished, 1 skipped (finished before)\n" in ended.out
    assert "best: val/J 40.0, trial-003: " in ended.out

    for _, overrides in seen:
        assert 1e-5 <= float(overrides["optim.optimizer.lr"]) <= 1e-3
        assert 1e-4 <= float(overrides["optim.optimizer.weight_decay"]) <= 0.1
        assert int(overrides["model.encoder.embedding_channels"]) in (64, 128, 256)
        assert overrides["pairs.augmentation.crop_size"] == "[65,113]"
        assert "hparams" in overrides

    ended = search_of(job, *arguments)
    assert (ended.code, len(seen)) == (0, 5)
    assert "3 skipped (finished before)\n" in ended.out


def test_a_validation_without_a_number_is_not_the_best(tmp_path: Path) -> None:
    study = open_study(tmp_path / "optuna.journal")
    trial = study.ask()
    for step, J in enumerate([math.nan, 0.25, 0.5, math.nan]):
        trial.report(J, step)
    assert search._best(study.trials[0]) == 0.5


def test_failures_are_told(search_of: Callable[..., Any], tmp_path: Path) -> None:
    ended = search_of(lambda *_: "failed", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    assert ended.code == 1
    assert "2 failed\n" in ended.out
    assert {trial.state.name for trial in open_study(tmp_path / "sweep" / "optuna.journal").trials} == {"FAIL"}
    ended = search_of(lambda *_: "finished", "hydra.sweeper.n_trials=1")
    assert (ended.code, "there was no validation" in ended.out) == (1, True)


def test_mistakes(search_of: Callable[..., Any], tmp_path: Path) -> None:
    fixed = (
        "optim.optimizer.lr=0.1",
        "optim.optimizer.weight_decay=0.1",
        "pairs.augmentation.crop_size=[65,113]",
        "model.encoder.embedding_channels=8",
    )
    ended = search_of(lambda *_: "finished", *fixed)
    assert ended.err.startswith("adnet: nothing to search: give hydra.sweeper.params")
    assert not (tmp_path / "sweep").exists()
    ended = search_of(lambda *_: "finished", "pairs.holdout=[]")
    assert ended.err.startswith(
        "adnet: a search needs pairs.holdout=[SEQUENCE,...], training sequences to choose settings by"
    )
    assert not (tmp_path / "sweep").exists()
    ended = search_of(lambda *_: "finished", "optim.optimizer.lrr=interval(0,1)")
    assert ended.err == "adnet: unknown key optim.optimizer.lrr; did you mean optim.optimizer.lr?\n"


@pytest.mark.parametrize("sweep", ["tag(log,interval(0,10))", "tag(log,range(1,9,step=2))", "interval(3,1)"])
def test_a_range_that_cannot_be_searched_is_one_line(search_of: Callable[..., Any], sweep: str) -> None:
    ended = search_of(lambda *_: "finished", f"model.head_channels={sweep}")
    assert ended.code == 1
    assert ended.err.startswith(f"adnet: model.head_channels={sweep}: this can't be searched (")
    assert ended.err.count("\n") == 1
