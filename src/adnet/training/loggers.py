"""Loggers that need more than a config line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger

from adnet.errors import UserError


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
