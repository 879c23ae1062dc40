from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ARGUMENTS = (
    "scale=smoke",
    "model.encoder.pretrained=false",
    "model.encoder.backbone=test_efficientnet",
    "trainer.accelerator=cpu",
    "pairs.workers=0",
    "test_at_end=false",
    "~callbacks.progress",
)


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
