from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from adnet.errors import UserError
from adnet.training.loggers import MetricsFile, log_config, wandb_logger


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_resumed_run_goes_on_with_its_metrics(tmp_path: Path) -> None:
    first = MetricsFile(str(tmp_path))
    for step in range(4):
        first.log_metrics({"train/loss": step / 10}, step)
    first.log_metrics({"val/J": 0.5}, 1)
    first.save()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = MetricsFile(str(tmp_path))
    assert len(rows(tmp_path)) == 5  # nothing is lost should it be cut off here
    for step in (2, 3):  # the last checkpoint was made before step 2
        second.log_metrics({"train/loss": step / 5}, step)
    second.log_metrics({"val/J": 0.75, "val/F": 0.25}, 3)
    second.save()
    losses = [(row["step"], row["train/loss"]) for row in rows(tmp_path) if row["train/loss"]]
    assert losses == [("0", "0.0"), ("1", "0.1"), ("2", "0.4"), ("3", "0.6")]
    assert [(row["step"], row["val/J"], row["val/F"]) for row in rows(tmp_path) if row["val/J"]] == [
        ("1", "0.5", ""),
        ("3", "0.75", "0.25"),
    ]


def test_fresh_run_makes_its_folder(tmp_path: Path) -> None:
    logger = MetricsFile(str(tmp_path / "run"))
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.save()
    assert rows(tmp_path / "run") == [{"step": "0", "train/loss": "1.0"}]


class Recorder(Logger):
    name = version = "recorder"

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.logged = params

    def log_metrics(self, *_: Any, **__: Any) -> None:
        raise AssertionError


def test_the_data_s_config_and_its_fingerprint_are_both_logged() -> None:
    config = {"seed": 0, "data": {"root": "data/DAVIS", "split": "val"}}
    provenance = {"git_commit": "abc", "data": {"train": {"sha256": "123"}}}
    loggers = [Recorder(), Recorder()]
    log_config(loggers, config, provenance)
    for logger in loggers:
        assert logger.logged == {**config, "git_commit": "abc", "data_fingerprint": {"train": {"sha256": "123"}}}


def test_wandb_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'adnet\[wandb\]'"):
        wandb_logger(str(tmp_path))
