"""Loggers that need more than a config line."""

from __future__ import annotations

import csv
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from adnet.errors import UserError


class MetricsFile(CSVLogger):
    """`save_dir/metrics.csv`; goes on with that of a run that is resumed, where Lightning's would begin anew."""

    def __init__(self, save_dir: str, **options: Any) -> None:
        super().__init__(save_dir, name="", version="", **options)
        self._earlier: list[dict[str, Any]] = []
        self._take_over(Path(save_dir) / "metrics.csv")

    @rank_zero_only
    def _take_over(self, file: Path) -> None:
        if file.is_file():
            with file.open(newline="") as lines:
                self._earlier = [{key: value for key, value in row.items() if value} for row in csv.DictReader(lines)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning says that it deletes the file
            self._write(self._earlier)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self._earlier and step is not None:
            # Steps after the last checkpoint are made once more.
            self._write([row for row in self._earlier if int(row["step"]) < step])
            self._earlier = []
        super().log_metrics(metrics, step)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        writer = self.experiment
        Path(writer.metrics_file_path).unlink(missing_ok=True)
        writer.metrics = rows
        writer.save()


def wandb_logger(save_dir: str, **options: Any) -> Logger:
    """A `WandbLogger`, offline where no login is found, so that a run never waits for one; `wandb sync` sends it later."""
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger=wandb needs the extra: pip install 'adnet[wandb]'") from error
    logged_in = bool(os.environ.get("WANDB_API_KEY") or wandb.api.api_key)
    if "WANDB_MODE" not in os.environ:
        options.setdefault("offline", not logged_in)
    Path(save_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(save_dir=save_dir, **options)


def finish_wandb() -> None:
    """End this process's W&B run, if there is one: the next job's logger would go on with it."""
    if (wandb := sys.modules.get("wandb")) is not None:
        wandb.finish()
