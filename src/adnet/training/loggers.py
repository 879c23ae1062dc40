"""Loggers of a training (CSV, TensorBoard, W&B), and what is logged once per run."""

import csv
import io
import math
import os
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from adnet.shared.files import full_disk_named, write_text
from adnet.shared.machine import need_extra
from adnet.shared.run_folder import read_metrics
from adnet.training.callbacks import Pruned
from adnet.training.checkpoints import SIGNALS

_SCORES = ("val/J", "val/F")
"""What is shown beside each run where runs are compared: in TensorBoard's table, and as W&B's best and last."""


class MetricsFile(Logger):
    """Write `save_dir/metrics.csv`, one row per call; a resumed run replaces the rows from its first step on.

    The file is rewritten, atomically, for the first rows of a process and for a new column; other rows are appended.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._file = Path(save_dir) / "metrics.csv"
        self._rows: list[dict[str, Any]] = [*read_metrics(self._file)]
        self._columns: list[str] = []
        self._pending: list[dict[str, Any]] = []
        self._begun = self._written = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._file.parent)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            step = int([{"step": 0}, *self._rows, *self._pending][-1]["step"])
        elif not self._begun:
            # Steps after the checkpoint are repeated.
            self._rows = [row for row in self._rows if int(row["step"]) < step]
            self._begun, self._written = True, False
        self._pending.append({**metrics, "step": step})

    @rank_zero_only
    def save(self) -> None:
        """Write the rows since the last call, if any. Columns are in alphabetical order."""
        if not self._pending:
            return
        rows = [*self._rows, *self._pending]
        columns = sorted(set().union(*rows))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, columns, lineterminator="\n")
        appended = self._written and columns == self._columns
        self._written = False  # after an error, all is written again
        if appended:
            table.writerows(self._pending)
            with full_disk_named(self._file), self._file.open("a", newline="", encoding="utf-8") as file:
                file.write(text.getvalue())
        else:
            table.writeheader()
            table.writerows(rows)
            write_text(self._file, text.getvalue())
        self._columns, self._rows, self._pending, self._written = columns, rows, [], True


class RunTensorBoard(TensorBoardLogger):
    """Write into `save_dir/tensorboard`; TensorBoard then hides the steps that a resumed run repeats.

    Its table of runs has the columns `val/J` and `val/F`. Raises UserError without tensorboard.
    """

    def __init__(self, save_dir: str) -> None:
        need_extra("tensorboard", "tensorboard", "logger=tensorboard")
        super().__init__(save_dir, name="", version="tensorboard")
        self._begun = False

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any) -> None:
        super().log_hyperparams(params, dict.fromkeys(_SCORES, math.nan))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if step is not None and not self._begun:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog

            self._begun = True
            begin = Event(step=step, session_log=SessionLog(status=SessionLog.START))
            self.experiment._get_file_writer().add_event(begin, step)
        # The columns of the table have no values yet.
        super().log_metrics({name: value for name, value in metrics.items() if not math.isnan(value)}, step)


class RunWandb(WandbLogger):
    """A W&B run for a run folder. Without a login it is offline, so that a training never waits for one; `wandb sync` sends it later.

    The run is named after the folder. Its id, a new one unless `options` or `wandb agent` give one, is kept in
    `save_dir/wandb/id`, so that a resumed training continues its own W&B run. `options` are those of `WandbLogger` and `wandb.init`;
    `log_model=True` keeps the last and the best checkpoint as an artifact, `"all"` every checkpoint. Raises UserError without wandb.
    """

    def __init__(self, save_dir: str, tags: Sequence[str | None] = (), **options: Any) -> None:
        if not wandb_login() and "WANDB_MODE" not in os.environ:
            # Not WandbLogger's `offline`, which stays set in the environment after the run, and forbids artifacts.
            options.setdefault("mode", "offline")
        options.setdefault("name", Path(save_dir).resolve().name)
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        # Under an agent, W&B takes no other id than the agent's.
        given = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else options.pop("version", None)
        options["id"] = _run_id(Path(save_dir) / "wandb" / "id", given or options.get("id"))
        super().__init__(save_dir=save_dir, tags=[tag for tag in tags if tag], **options)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log all but scores of NaN: after one, W&B's summary would have neither their best nor their last value."""
        numbers = {name: value for name, value in metrics.items() if not (name in _SCORES and math.isnan(value))}
        super().log_metrics(numbers, step)


def wandb_login() -> bool:
    """Return whether W&B is online and logged in. Raises UserError without wandb."""
    need_extra("wandb", "wandb", "W&B")
    import wandb

    mode = os.environ.get("WANDB_MODE", "online")
    return mode == "online" and wandb.login(prompt=False, verify=False)


@rank_zero_only
def _run_id(file: Path, given: str | None) -> str:
    if given or not file.is_file():
        write_text(file, given or secrets.token_hex(4))
    return file.read_text(encoding="utf-8").strip()


@contextmanager
def finishing_wandb() -> Iterator[None]:
    """Finish the W&B run of this process when the block ends, or the next job's logger would continue it.

    Its exit code is 1 after an exception, but not for a pruned trial or a run stopped by a signal.
    """
    exit_code = 0
    try:
        yield
    except BaseException as error:
        # After these signals, `Checkpoints` has saved and exits.
        preempted = isinstance(error, SystemExit) and error.code in {128 + number for number in SIGNALS}
        exit_code = 0 if preempted or isinstance(error, Pruned) else 1
        raise
    finally:
        if (wandb := sys.modules.get("wandb")) is not None:
            wandb.finish(exit_code)


def log_config(loggers: Iterable[Logger], config: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Log a run's resolved config and its provenance, whose `data` becomes `data_fingerprint`, as one dictionary.

    The summary of a W&B run gets the best `val/J` and `val/F` beside the last.
    """
    made_from = {"data_fingerprint" if key == "data" else key: value for key, value in provenance.items()}
    for logger in loggers:
        logger.log_hyperparams({**config, **made_from})
        if isinstance(logger, WandbLogger):
            for name in _SCORES:
                logger.experiment.define_metric(name, step_metric="trainer/global_step", summary="max,last")


def log_scores(loggers: Iterable[Logger], scores: dict[str, Any], step: int) -> None:
    """Log `evaluation/J` and `evaluation/F` of an evaluation's `scores.json`; W&B also gets the scores of each sequence."""
    measures, statistics = ("J", "F"), ("mean", "recall", "decay")
    columns = list(product(measures, statistics))
    rows = [[name, *(one[measure][how] for measure, how in columns)] for name, one in scores["sequences"].items()]
    for logger in loggers:
        logger.log_metrics({f"evaluation/{measure}": scores["mean"][measure]["mean"] for measure in measures}, step)
        if isinstance(logger, WandbLogger):
            logger.log_table("evaluation/sequences", ["sequence", *map(" ".join, columns)], rows, step=step)
        logger.save()
