from __future__ import annotations

import csv
import errno
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from adnet.errors import UserError
from adnet.training import loggers
from adnet.training.loggers import MetricsFile, RunTensorBoard, RunWandb, log_config


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


def test_rows_are_added_at_the_end_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write_text = loggers.write_text
    monkeypatch.setattr(loggers, "write_text", lambda path, text: (written.append(len(text)), write_text(path, text)))
    logger = MetricsFile(str(tmp_path))
    for step in range(1000):
        logger.log_metrics({"epoch": 0, "train/loss": step / 10, "train/lr": 0.1}, step)
        if step % 100 == 99:
            logger.log_metrics({"epoch": 0, "val/J": 0.5}, step)
        logger.save()
        assert (tmp_path / "metrics.csv").read_bytes().endswith(b"\n")
    assert len(written) == 2  # the first row, and the first with val/J
    table = rows(tmp_path)
    assert list(table[0]) == ["epoch", "step", "train/loss", "train/lr", "val/J"]
    assert [row["step"] for row in table if row["train/loss"]] == [str(step) for step in range(1000)]
    assert [row["step"] for row in table if row["val/J"]] == [str(step) for step in range(99, 1000, 100)]


def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.5\n1,0.4\n2,0.")
    logger = MetricsFile(str(tmp_path))
    logger.log_metrics({"train/loss": 0.25}, 2)
    logger.save()
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [("0", "0.5"), ("1", "0.4"), ("2", "0.25")]


def test_no_row_is_added_to_one_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.5\n1,0.")
    logger = MetricsFile(str(tmp_path))
    logger.log_metrics({"train/loss": 0.25})
    logger.save()
    assert rows(tmp_path) == [{"step": "0", "train/loss": "0.5"}, {"step": "0", "train/loss": "0.25"}]


@pytest.mark.parametrize("failing", ["first row", "second row", "new column"])
def test_a_row_whose_writing_failed_is_there_once_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    logger, full = MetricsFile(str(tmp_path)), OSError(errno.ENOSPC, "no space")
    logged = [{"a": 1.0}, {"b": 2.0} if failing == "new column" else {"a": 2.0}]

    def cut_off(path: Path, *given: Any, **options: Any) -> Any:
        with real(path, *given, **options) as file:
            file.write("2.")
        raise full

    real = Path.open
    for number, row in enumerate(logged):
        logger.log_metrics(row, number)
        if failing == ["first row", "second row"][number] or (failing == "new column" and number):
            with monkeypatch.context() as patch:
                patch.setattr(Path, "open", cut_off)
                with pytest.raises(OSError, match=r"no space.*metrics\.csv"):
                    logger.save()
        logger.save()
    assert [(found["step"], found["a"]) for found in rows(tmp_path)] == [
        (str(number), str(row.get("a", ""))) for number, row in enumerate(logged)
    ]


def test_a_finished_run_is_left_alone_until_it_logs(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.5\n1,0.4\n")
    logger = MetricsFile(str(tmp_path))
    logger.save()
    assert len(rows(tmp_path)) == 2
    logger.log_metrics({"evaluation/J": 0.75})  # of the last step
    logger.save()
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "1"]


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
    recorders = [Recorder(), Recorder()]
    log_config(recorders, config, provenance)
    for logger in recorders:
        assert logger.logged == {**config, "git_commit": "abc", "data_fingerprint": {"train": {"sha256": "123"}}}


def test_wandb_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'adnet\[wandb\]'"):
        RunWandb(str(tmp_path))


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps, offset in (
        (range(6), 0),
        (range(3, 9), 100),
    ):  # killed after step 5, resumed from a checkpoint after step 2
        logger = RunTensorBoard(str(tmp_path))
        logger.log_hyperparams({"seed": 0})
        for step in steps:
            logger.log_metrics({"val/J": step + offset}, step)
        logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("val/J")] == [
        *((step, step) for step in range(3)),
        *((step, step + 100) for step in range(3, 9)),
    ]
    assert events.Tags()["scalars"] == ["val/J"]  # no hp_metric


def test_tensorboard_s_table_of_runs_has_the_scores(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    logger = RunTensorBoard(str(tmp_path))
    logger.log_hyperparams({"seed": 3})
    logger.finalize("success")
    content = EventAccumulator(str(tmp_path / "tensorboard")).Reload().SummaryMetadata("_hparams_/experiment")
    experiment = HParamsPluginData.FromString(content.plugin_data.content).experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == ["val/J", "val/F"]
    assert [setting.name for setting in experiment.hparam_infos] == ["seed"]
