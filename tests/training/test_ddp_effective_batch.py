from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
import torch
from torch import nn

from adnet.data.datamodule import PairDataModule
from adnet.errors import UserError
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir
from adnet.training import ddp
from adnet.training.ddp import ddp_trainer, effective_batch


def shared(
    pairs: int, devices: int, accumulated: int = 1, sync_batchnorm: Any = 8, accelerator: str = "cuda"
) -> tuple[Any, Any]:
    """A data module and a trainer as they are on a machine with GPUs, as far as `effective_batch` asks them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ddp.L, "Trainer", lambda **options: options)
        options: Any = ddp_trainer(strategy="ddp", sync_batchnorm=sync_batchnorm)
    (layers,) = options["plugins"]
    data = SimpleNamespace(batch_size=pairs)
    data.device_batch_size = partial(PairDataModule.device_batch_size, data)
    strategy = SimpleNamespace(_layer_sync=layers, root_device=torch.device(accelerator))
    trainer = SimpleNamespace(
        world_size=devices, accumulate_grad_batches=accumulated, strategy=strategy, datamodule=data
    )
    return data, trainer


@pytest.mark.parametrize(
    ("how", "synchronised"),
    [
        ({"pairs": 8, "devices": 1}, False),
        ({"pairs": 8, "devices": 4}, True),
        ({"pairs": 16, "devices": 2}, False),
        ({"pairs": 16, "devices": 2, "accumulated": 2}, True),
        ({"pairs": 16, "devices": 2, "sync_batchnorm": True}, True),
        ({"pairs": 8, "devices": 4, "sync_batchnorm": False}, False),
        ({"pairs": 8, "devices": 4, "accelerator": "cpu"}, False),
    ],
)
def test_gpus_with_few_pairs_share_statistics(how: dict[str, Any], synchronised: bool) -> None:
    data, trainer = shared(**how)
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model.trainer = trainer
    converted = trainer.strategy._layer_sync.apply(model)
    assert isinstance(converted[1], nn.SyncBatchNorm) is synchronised
    assert effective_batch(data, trainer).endswith(", batch norm over all") is (synchronised and data.batch_size == 8)


@pytest.mark.parametrize(
    "how",
    [
        {"pairs": 8, "devices": 8, "sync_batchnorm": False},
        {"pairs": 8, "devices": 8, "accelerator": "cpu"},
        {"pairs": 8, "devices": 1, "accumulated": 8},
    ],
)
def test_batch_norm_of_one_pair_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"pairs\.batch_size=8 leaves each batch norm one pair, but it needs two"):
        effective_batch(*shared(**how))


def test_two_nodes_of_eight_gpus_cannot_share_eight_pairs() -> None:
    with pytest.raises(UserError, match="can't be split over 16 devices: take a multiple of 16"):
        effective_batch(*shared(8, 16))
    assert "16 devices x 1 x 1 accumulated, batch norm over all" in effective_batch(*shared(16, 16))


@pytest.mark.parametrize("rank", ["0", "1"])
def test_every_rank_refuses_the_batch_by_itself(
    rank: str, run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train

    for name, value in {"LOCAL_WORLD_SIZE": "3", "LOCAL_RANK": rank, "RANK": rank, "GROUP_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(name, value)
    arguments = (
        *("scale=smoke", "trainer=ddp", "trainer.accelerator=cpu", "model.encoder.pretrained=false"),
        *("model.encoder.backbone=test_efficientnet", f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}"),
    )
    ended = run(train.main, *arguments)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("adnet: pairs.batch_size=4 can't be split over 3 devices")


def test_the_default_is_one_device() -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert hydra.compose("train").trainer.devices == 1
        check_config(hydra.compose("train", ["trainer=ddp", "trainer.sync_batchnorm=true"]), "train")
        with pytest.raises(UserError, match=r"trainer\.sync_batchnorm=often: expected"):
            check_config(hydra.compose("train", ["trainer=ddp", "trainer.sync_batchnorm=often"]), "train")
