"""A Trainer that starts its ranks."""

from __future__ import annotations

import os
from functools import wraps
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from adnet.errors import UserError
from adnet.training.sync_batch_norm import SyncBatchNorm


@wraps(L.Trainer.__init__)  # so that its arguments are known, and a misspelt one is not
def ddp_trainer(*, sync_batchnorm: bool | int = False, **options: Any) -> L.Trainer:
    """A `lightning.Trainer` for `strategy=ddp`, whose `devices=auto` is every GPU (NCCL), or two processes on the CPU (gloo).

    Under torchrun it is as many as torchrun started. `sync_batchnorm` is for any backbone (`SyncBatchNorm`), and may also be a
    number: of pairs, and GPUs that get fewer share their statistics. Raises UserError where several jobs share this process:
    Lightning would start each rank with the command line of the whole sweep.
    """
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("trainer=ddp needs a process for each job: leave hydra/sweeper as it is")
    started = os.environ.get("LOCAL_WORLD_SIZE")
    accelerator = options.get("accelerator", "auto")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        options["accelerator"] = "cpu"  # not Apple's, which has no collectives
        started = started or "2"
    if started and options.get("devices", "auto") == "auto":
        options["devices"] = int(started)
    below = {True: float("inf"), False: 0}[sync_batchnorm] if isinstance(sync_batchnorm, bool) else sync_batchnorm
    return L.Trainer(**options | {"plugins": [*(options.get("plugins") or ()), SyncBatchNorm(below)]})


ddp_trainer.__annotations__["sync_batchnorm"] = bool | int
