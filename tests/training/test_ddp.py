from __future__ import annotations

from typing import Any

import lightning as L
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from adnet.errors import UserError
from adnet.shared.check_config import argument_types
from adnet.training import ddp
from adnet.training.ddp import check_processes, ddp_trainer

OPTIONS: dict[str, Any] = {
    "strategy": "ddp",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
}


@pytest.fixture(autouse=True)
def _no_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig, "initialized", lambda: False)


@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_two_processes_on_the_cpu(accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddp.torch.cuda, "is_available", lambda: False)
    trainer = ddp_trainer(accelerator=accelerator, **OPTIONS)
    assert isinstance(trainer, L.Trainer)
    assert (trainer.num_devices, trainer.world_size) == (2, 2)
    assert trainer.strategy.root_device.type == "cpu"
    assert ddp_trainer(accelerator=accelerator, devices=3, **OPTIONS).num_devices == 3


def test_as_many_as_torchrun_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOCAL_WORLD_SIZE": 4, "LOCAL_RANK": 0, "RANK": 0, "WORLD_SIZE": 4, "GROUP_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert ddp_trainer(accelerator="cpu", **OPTIONS).num_devices == 4


SRUN = {"SLURM_STEP_NUM_TASKS": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}


@pytest.mark.parametrize(("started", "rank"), [(SRUN, 0), (SRUN, 1), (TORCHRUN, 0), ({}, 1)])
def test_processes_that_share_no_training_are_refused(
    started: dict[str, str], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_processes(1)
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    check_processes("auto")
    check_processes(2)
    check_processes(1, nodes=2)
    for alone in (1, "1", OmegaConf.create([0])):
        with pytest.raises(UserError, match=r"has started 2 processes, but this training is of 1: add trainer=ddp"):
            check_processes(alone)


@pytest.mark.parametrize(("there", "expected"), [(True, "auto"), (False, 2)])
def test_every_gpu_where_there_is_one(there: bool, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(ddp.torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(ddp.L, "Trainer", lambda **options: given.update(options))
    ddp_trainer(accelerator="auto", devices="auto", **OPTIONS)
    assert given["devices"] == expected
    ddp_trainer(accelerator="gpu", devices="auto", **OPTIONS)
    assert given["devices"] == "auto"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    ddp_trainer(accelerator="gpu", devices="auto", **OPTIONS)
    assert given["devices"] == 4


def test_jobs_that_share_a_process_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create({"mode": RunMode.MULTIRUN}))
    with pytest.raises(UserError, match="trainer=ddp needs a process for each job: leave hydra/sweeper as it is"):
        ddp_trainer(**OPTIONS)


def test_lightning_s_own_annotations_stay() -> None:
    name = "adnet.training.ddp.ddp_trainer"
    own, ours = argument_types("lightning.Trainer"), argument_types(name)
    assert (own["sync_batchnorm"], ours["sync_batchnorm"]) == (bool, bool | int)
    assert ours == own | {"sync_batchnorm": bool | int}
