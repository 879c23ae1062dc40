"""How often a training step keeps the device waiting for the host."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from adnet.data import davis2016
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule
from adnet.training import SegmentationModule, poly
from adnet.training.callbacks import GradientNorm, Progress, Throughput
from adnet.training.checkpoints import Checkpoints
from adnet.training.finite_loss import FiniteLoss
from adnet.training.loggers import MetricsFile

SIZE = (33, 57)


class Waits(Callback):
    """Counts what reads a number off the device (`item`), from the beginning of each step to that of the next."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self._profile: profile | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        self._stop()
        self._profile = profile(activities=[ProfilerActivity.CPU])
        self._profile.start()

    def _stop(self) -> None:
        if self._profile is not None:
            self._profile.stop()
            events = self._profile.events() or ()
            self.counts.append(sum(event.name == "aten::_local_scalar_dense" for event in events))
            self._profile = None

    def on_train_end(self, *_: Any) -> None:
        self._stop()


def test_only_logging_steps_read_numbers(
    tiny_davis: Path,
    tiny_model_config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    reductions: list[int] = []
    check = FiniteLoss.check

    def counted(self: FiniteLoss, trainer: L.Trainer, *signalled: bool) -> bool:
        reductions.append(trainer.global_step)
        return check(self, trainer, *signalled)

    monkeypatch.setattr(FiniteLoss, "check", counted)
    module = SegmentationModule(
        instantiate(tiny_model_config), partial(torch.optim.SGD, lr=0.01), partial(poly, horizon=9), 1.0, SIZE
    )
    train = davis2016(tiny_davis, "train")
    data = PairDataModule(train, train, Augmentation(SIZE), epoch_steps=8, batch_size=2, workers=0)
    waits = Waits()
    callbacks = [
        waits,
        Checkpoints(str(tmp_path / "checkpoints"), 8),
        FiniteLoss(str(tmp_path)),
        Throughput(),
        GradientNorm(),
        Progress(refresh_rate=4),
    ]
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=8,
        max_epochs=-1,
        log_every_n_steps=4,
        limit_val_batches=0,
        callbacks=callbacks,
        logger=MetricsFile(str(tmp_path)),
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    quiet = [waits.counts[step] for step in (1, 2, 5, 6)]
    assert quiet == [0, 0, 0, 0]
    parameters = sum(1 for _ in module.parameters())
    assert 0 < waits.counts[3] < 8 < parameters  # what is logged, and no more
    assert reductions == [0, 4, 8]
    assert "step 8 of 8: train/loss " in capfd.readouterr().out  # it is shown all the same
