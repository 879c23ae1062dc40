from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adnet.data import davis2016
from adnet.errors import UserError
from adnet.training.finite_loss import FiniteLoss

ARGUMENTS = (
    "scale=smoke",
    "model.encoder.pretrained=false",
    "model.encoder.backbone=test_efficientnet",
    "trainer.accelerator=cpu",
    "pairs.workers=0",
    "test_at_end=false",
    "~callbacks.progress",
)


class Ranks:
    """What a strategy of two processes gives both of them."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = torch.tensor(losses)

    def reduce_boolean_decision(self, _: bool) -> bool:
        return bool(self.losses.isfinite().all())

    def all_gather(self, _: torch.Tensor) -> torch.Tensor:
        return self.losses

    def barrier(self) -> None:
        pass


@pytest.mark.parametrize(
    ("losses", "files", "told"),
    [
        ([0.5, float("nan")], ["nan_batch-1.json"], "is nan on rank 1; its pairs are in {}/nan_batch-1.json"),
        ([float("inf"), 0.5], ["nan_batch.json"], "is inf on rank 0; its pairs are in {}/nan_batch.json"),
        (
            [float("nan"), float("nan")],
            ["nan_batch-1.json", "nan_batch.json"],
            "is nan on rank 0; its pairs are in {}/nan_batch.json",
        ),
        ([0.5, 0.5], [], None),
    ],
)
def test_every_rank_names_a_file_that_is_there(
    tiny_davis: Path, tmp_path: Path, losses: list[float], files: list[str], told: str | None
) -> None:
    data = SimpleNamespace(train=davis2016(tiny_davis, "train"))
    said = []
    for rank in (1, 0):
        trainer: Any = SimpleNamespace(strategy=Ranks(losses), global_rank=rank, global_step=7, datamodule=data)
        outputs, batch = {"loss": torch.tensor(losses[rank])}, {"key": torch.tensor([[rank, 0, 2]])}
        try:
            FiniteLoss(str(tmp_path / "run")).on_train_batch_end(trainer, None, outputs, batch, 0)  # type: ignore[arg-type]
        except UserError as error:
            said.append(str(error))
    assert sorted(path.name for path in tmp_path.glob("run/*")) == files
    assert len(said) == (2 if told else 0)
    for line in said:
        assert f"the loss of step 7 {told.format(tmp_path / 'run')}," in line  # type: ignore[union-attr]
    for name in files:
        report = json.loads((tmp_path / "run" / name).read_text())
        sequence = "train-001" if name == "nan_batch-1.json" else "train-000"
        assert report["pairs"] == [{"sequence": sequence, "anchor": "00000", "frame": "00002"}]


@pytest.mark.slow
def test_a_loss_of_nan_stops_the_run_and_names_its_pairs(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train
    from adnet.training import SegmentationModule

    batches: list[list[list[int]]] = []
    honest = SegmentationModule.training_step

    def step(self: SegmentationModule, batch: Any, batch_idx: int) -> torch.Tensor:
        batches.append(batch["key"].tolist())
        return honest(self, batch, batch_idx) * (float("nan") if self.global_step == 3 else 1)

    monkeypatch.setattr(SegmentationModule, "training_step", step)
    folder = tmp_path / "run"
    ended = run(train.main, *ARGUMENTS, f"data.root={tiny_davis}", f"hydra.run.dir={folder}")
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    *_, line = ended.err.strip().splitlines()
    assert line == (
        f"adnet: the loss of step 4 is nan; its pairs are in {folder}/nan_batch.json, and the checkpoints are of before: try a "
        "lower optim.optimizer.lr, or trainer.gradient_clip_val"
    )
    report = json.loads((folder / "nan_batch.json").read_text())
    assert (report["step"], report["loss"]) == (4, "nan")
    assert [(pair["anchor"], pair["frame"]) for pair in report["pairs"]] == [
        (f"{anchor:05}", f"{frame:05}") for _, anchor, frame in batches[3]
    ]
    assert [pair["sequence"] for pair in report["pairs"]] == [f"train-{s:03}" for s, _, _ in batches[3]]
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
