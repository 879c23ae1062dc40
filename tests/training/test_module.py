from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.functional import interpolate

from adnet.data import davis2016
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule
from adnet.inference import load_checkpoint
from adnet.metrics import region_similarity
from adnet.models import ADNet
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir
from adnet.training import SegmentationModule, poly
from adnet.training.loggers import MetricsFile, RunTensorBoard
from adnet.training.loss import Loss, total
from adnet.training.module import as_input, upsampled_loss

SIZE = (33, 57)


def build(config: dict[str, Any], seed: int = 0, lr: float = 0.01, loss: Loss | None = None) -> SegmentationModule:
    torch.manual_seed(seed)
    optimizer = partial(torch.optim.SGD, lr=lr, momentum=0.9)
    return SegmentationModule(instantiate(config), optimizer, partial(poly, horizon=40), 10.0, SIZE, loss=loss)


def pairs(root: Path, epoch_steps: int = 2, workers: int = 1, batch_size: int = 2) -> PairDataModule:
    train, val = davis2016(root, "train"), davis2016(root, "val")
    return PairDataModule(
        train, val, Augmentation(SIZE), epoch_steps, batch_size=batch_size, val_frames=1, workers=workers
    )


def trainer(folder: Path, **options: Any) -> L.Trainer:
    given: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "reload_dataloaders_every_n_epochs": 1,
        "default_root_dir": folder,
    }
    return L.Trainer(**given | options)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = {
        n: torch.randint(0, 256, (2, 3, *SIZE), generator=generator, dtype=torch.uint8) for n in ("anchor", "frame")
    }
    return images | {"mask": torch.rand(2, *SIZE, generator=generator) > 0.7}


class Losses(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def test_loss_is_the_mean_cross_entropy(tiny_model_config: dict[str, Any], batch: dict[str, torch.Tensor]) -> None:
    module = build(tiny_model_config).eval()
    loss = float(module.training_step(batch, 0))  # type: ignore[arg-type]

    with torch.no_grad():
        coarse = module.model(batch["anchor"] / 255, batch["frame"] / 255)
        assert coarse.shape == (2, 1, 5, 8)
        logits = interpolate(coarse, SIZE, mode="bilinear", align_corners=True)[:, 0].double().numpy()
    p, y = 1 / (1 + np.exp(-logits)), batch["mask"].numpy()
    assert loss == pytest.approx(-np.where(y, np.log(p), np.log(1 - p)).mean(), rel=1e-5)


class LossesOfParts(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.losses.append(float(arguments[2]["loss"]))


def test_the_loss_of_all_parts_and_ranks_and_both_learning_rates_are_logged(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, module = LossesOfParts(), build(tiny_model_config)
    module._new_layers_lr = 10
    fit = trainer(tmp_path, max_steps=1, accumulate_grad_batches=2, callbacks=[parts], limit_val_batches=0)

    def reduced(value: torch.Tensor, *_: Any, reduce_op: str = "") -> torch.Tensor:
        return value + 1 if reduce_op == "mean" else value  # as if another rank had lost more

    monkeypatch.setattr(fit.strategy, "reduce", reduced)
    fit.fit(module, pairs(tiny_davis, epoch_steps=1, batch_size=4, workers=0))
    assert len(set(parts.losses)) == 2
    logged = fit.callback_metrics
    # Lightning hands over what it adds up: each part divided by their number.
    assert float(logged["train/loss"]) == pytest.approx(sum(parts.losses) + 1, rel=1e-6)
    assert float(logged["train/lr"]) == pytest.approx(0.01, rel=1e-6)
    assert float(logged["train/lr_new_layers"]) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_fit_in_half_precision(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path, precision: Any
) -> None:
    losses, module = Losses(), build(tiny_model_config)
    fit = trainer(tmp_path, max_steps=1, precision=precision, callbacks=[losses], enable_checkpointing=True)
    fit.fit(module, pairs(tiny_davis, epoch_steps=1, workers=0))
    assert np.isfinite(losses.losses).all()
    assert float(fit.callback_metrics["train/lr"]) == pytest.approx(0.01, rel=1e-6)
    assert 0 <= fit.callback_metrics["val/J"] <= 1
    fit.save_checkpoint(tmp_path / "last.ckpt")
    model, _ = load_checkpoint(tmp_path / "last.ckpt")
    assert model.head[0].weight.dtype is torch.float32  # type: ignore[index]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_gradients_in_half_precision_point_where_those_of_float32_do(
    tiny_model_config: dict[str, Any], batch: dict[str, torch.Tensor], precision: str
) -> None:
    def gradient(dtype: torch.dtype, autocast: bool) -> torch.Tensor:
        module = build(tiny_model_config).to(dtype).eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = module.model(as_input(batch["anchor"], module.dtype), as_input(batch["frame"], module.dtype))
            loss = total(upsampled_loss(Loss(), logits, batch["mask"].unsqueeze(1)))
        assert loss.dtype is torch.float32
        loss.backward()
        return torch.cat([p.grad.float().flatten() for p in module.parameters() if p.grad is not None])

    half = gradient(torch.bfloat16 if precision == "bf16-true" else torch.float32, precision == "bf16-mixed")
    assert torch.cosine_similarity(half, gradient(torch.float32, False), dim=0) > 0.99


def test_logits_are_upsampled_in_float32() -> None:
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 65, 113) > 0.5
    gradients = []
    for dtype in (torch.bfloat16, torch.float32):
        torch.manual_seed(1)
        logits = torch.randn(2, 1, 9, 15).to(torch.bfloat16).to(dtype).requires_grad_()
        total(upsampled_loss(Loss(), logits, mask)).backward()
        assert logits.grad is not None
        gradients.append(logits.grad.float())
    assert torch.equal(gradients[0], gradients[1].to(torch.bfloat16).float())  # rounded once, at the end


def test_the_module_trains_on_the_loss_that_it_is_given(
    tiny_model_config: dict[str, Any], batch: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build(tiny_model_config | {"aux_weight": 0.5}, loss=Loss(soft_iou=2.0)).eval()
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "lr_schedulers", lambda: module.configure_optimizers()["lr_scheduler"]["scheduler"])
    mask = batch["mask"][:, None]
    with torch.no_grad():
        loss = module.training_step(batch, 0)  # type: ignore[arg-type]
        outputs = module.model.forward_with_aux(batch["anchor"] / 255, batch["frame"] / 255)
        main, aux = (
            total(Loss(soft_iou=2.0)(interpolate(one, SIZE, mode="bilinear", align_corners=True), mask))
            for one in outputs
        )
    torch.testing.assert_close(loss, main + 0.5 * aux)


OUR_LOSS = """
from dataclasses import dataclass
from adnet.training.loss import Loss

def dice_loss(logits, mask):
    p = logits.sigmoid()
    return 1 - 2 * (p * mask).sum() / (p + mask).sum()

@dataclass(frozen=True)
class OurLoss(Loss):
    dice: float = 0.0

    @property
    def terms(self):
        return super().terms | {"dice": dice_loss}
"""


def test_a_term_of_ones_own_is_one_file_and_one_config_and_has_its_curve(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    (tmp_path / "our_loss.py").write_text(OUR_LOSS)
    (tmp_path / "conf" / "loss" / "ours.yaml").write_text("defaults: [bce]\n_target_: our_loss.OurLoss\ndice: 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "loss=ours", "loss.dice=0.5", "loss.boundary=2"]
        cfg = hydra.compose("train", words)
        check_config(cfg, "train")
    module = build(tiny_model_config | {"aux_weight": 0.5}, loss=instantiate(cfg.loss))
    loggers = [MetricsFile(str(tmp_path)), RunTensorBoard(str(tmp_path))]
    fit = trainer(tmp_path, max_steps=1, accumulate_grad_batches=2, logger=loggers, limit_val_batches=0)
    fit.fit(module, pairs(tiny_davis, epoch_steps=1, batch_size=4, workers=0))
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    names = [f"train/{name}" for name in ("bce", "boundary", "dice", "aux")]
    assert float(row["train/loss"]) == pytest.approx(sum(float(row[name]) for name in names), rel=1e-5)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"train/loss", *names} <= {*curves.Tags()["scalars"]}


def test_two_groups_share_all_parameters(tiny_model_config: dict[str, Any]) -> None:
    module = build(tiny_model_config)
    optimizer = module.configure_optimizers()["optimizer"]
    backbone, new = optimizer.param_groups
    assert (backbone["lr"], new["lr"]) == pytest.approx((0.01, 0.1))
    ids = [{id(parameter) for parameter in group["params"]} for group in (backbone, new)]
    assert ids[0] == {id(parameter) for parameter in module.model.encoder.backbone.parameters()}
    assert ids[0] & ids[1] == set()
    assert ids[0] | ids[1] == {id(parameter) for parameter in module.parameters()}


def test_the_motion_branchs_backbone_is_no_new_layer(tiny_model_config: dict[str, Any]) -> None:
    config = tiny_model_config | {"variant": "full_motion", "motion": tiny_model_config["encoder"]}
    module = build(config)
    pretrained, new = module.configure_optimizers()["optimizer"].param_groups
    motion = module.model.motion
    assert motion is not None
    pretrained_ids = {id(parameter) for parameter in pretrained["params"]}
    assert {id(parameter) for parameter in motion.backbone.parameters()} <= pretrained_ids
    assert {id(parameter) for parameter in motion.aspp.parameters()} <= {id(parameter) for parameter in new["params"]}
    assert len(pretrained["params"]) + len(new["params"]) == len(list(module.parameters()))


@pytest.mark.slow
def test_training_overfits_a_few_pairs(tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path) -> None:
    losses = Losses()
    data = pairs(tiny_davis, workers=0)
    # The same two pairs again and again.
    data.train_dataloader = partial(PairDataModule.train_dataloader, pairs(tiny_davis, 1, workers=0))  # type: ignore[method-assign]
    trainer(tmp_path, max_steps=40, max_epochs=-1, callbacks=[losses], limit_val_batches=0).fit(
        build(tiny_model_config), data
    )
    assert len(losses.losses) == 40
    assert np.isfinite(losses.losses).all()
    assert np.mean(losses.losses[-5:]) < 0.5 * np.mean(losses.losses[:5])


def test_validation_logs_region_similarity(tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path) -> None:
    module, data = build(tiny_model_config), pairs(tiny_davis, workers=0)
    with torch.no_grad():
        module.model.head[-1].bias += 0.3  # type: ignore[index, operator]
    (logged,) = trainer(tmp_path).validate(module, data, verbose=False)
    expected = []
    for batch in data.val_dataloader():
        anchor, frame = (
            interpolate(batch[n] / 255, SIZE, mode="bilinear", align_corners=True) for n in ("anchor", "frame")
        )
        with torch.no_grad():
            logits = interpolate(module.model.eval()(anchor, frame), (64, 112), mode="bilinear", align_corners=True)
        expected.append(region_similarity((logits[0, 0] > 0).numpy(), batch["mask"][0].numpy()))
    assert len(expected) == 2
    assert logged["val/J"] == pytest.approx(np.mean(expected), abs=1e-5)


def test_checkpoint_opens_to_the_same_network(
    tiny_davis: Path, tiny_model_config: dict[str, Any], batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    module = build(tiny_model_config)
    fit = trainer(tmp_path, max_steps=1, limit_val_batches=0, enable_checkpointing=True)
    fit.fit(module, pairs(tiny_davis, workers=0))
    fit.save_checkpoint(tmp_path / "last.ckpt")
    model, size = load_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(model, ADNet)
    assert not model.training
    assert size == SIZE
    with torch.no_grad():
        outputs = [
            network.eval()(batch["anchor"] / 255, batch["frame"] / 255)
            for network in (module.model, model.to(memory_format=torch.channels_last))
        ]
    assert torch.equal(*outputs)


@pytest.mark.slow
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path
) -> None:
    def run(name: str, epochs: int, checkpoint: Path | None = None) -> tuple[SegmentationModule, list[float]]:
        losses, module = Losses(), build(tiny_model_config, seed=0 if checkpoint is None else 1)
        save = ModelCheckpoint(
            tmp_path / name, filename="best", monitor="val/J", mode="max", save_last=True, save_on_train_epoch_end=True
        )
        fit = trainer(tmp_path, max_epochs=epochs, callbacks=[losses, save], enable_checkpointing=True)
        fit.fit(module, pairs(tiny_davis), ckpt_path=None if checkpoint is None else str(checkpoint), weights_only=True)
        assert fit.global_step == 2 * epochs
        return module, losses.losses

    whole, losses = run("whole", 2)
    _, before = run("cut", 1)
    resumed, after = run("resumed", 2, tmp_path / "cut" / "last.ckpt")
    assert before + after == losses
    assert len(set(losses)) == 4
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
