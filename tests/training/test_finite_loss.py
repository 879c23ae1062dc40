from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from two_processes import ranks

from adnet.errors import UserError
from adnet.training import finite_loss
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
        f"adnet: the loss of step 4 is not finite; its pairs are in {folder}/nan_batch.json, and the checkpoints are from before: "
        "try a lower optim.optimizer.lr, or trainer.gradient_clip_val"
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


def process(rank: int, folder: Path, losses: list[list[float]]) -> None:
    """One of two processes with these losses, a list for each."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    strategy = SimpleNamespace(root_device=torch.device("cpu"), barrier=dist.barrier)
    trainer: Any = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy, datamodule=datamodule())
    callback, module = FiniteLoss(str(folder)), None
    said = [str(callback.check(trainer, signalled=rank == 1))]
    for step, loss in enumerate(losses[rank], start=1):
        trainer.global_step = step
        batch: Any = {"key": torch.tensor([[rank, 0, step]])}
        callback.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, batch, 0)  # type: ignore[arg-type]
    try:
        callback.check(trainer)
    except UserError as error:
        said.append(str(error))
    (folder / f"said-{rank}").write_text("\n".join(said))
    dist.destroy_process_group()


def datamodule() -> Any:
    frames = [Path(f"{index:05}.jpg") for index in range(4)]
    sequences = [SimpleNamespace(name=name, frames=frames) for name in ("bear", "boat")]
    return SimpleNamespace(train=SimpleNamespace(sequences=sequences))


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without distributed")
@pytest.mark.parametrize(
    ("losses", "files", "named"),
    [
        # The first step's gradient hands what is no number on to the next step of both.
        ([[1, 2, math.nan], [1, math.inf, math.nan]], ["nan_batch-1.json"], "nan_batch-1.json"),
        ([[1, math.nan, math.nan], [1, math.nan, 1]], ["nan_batch-1.json", "nan_batch.json"], "nan_batch.json"),
        ([[1, math.inf, 1], [1, 1, math.nan]], ["nan_batch.json"], "nan_batch.json"),
    ],
)
def test_all_processes_stop_and_name_a_file_that_is_there(
    tmp_path: Path, losses: list[list[float]], files: list[str], named: str
) -> None:
    ranks(process, tmp_path, losses)
    said = [(tmp_path / f"said-{rank}").read_text().splitlines() for rank in range(2)]
    assert [lines[0] for lines in said] == ["True", "True"]  # the signal of one is known to both
    rank = "1" if "-1" in named else "0"
    for _, line in said:
        assert line.startswith(
            f"the loss of step 2 is not finite on rank {rank}; its pairs are in {tmp_path / named}, "
        )
    assert sorted(path.name for path in tmp_path.glob("*.json")) == files
    report = json.loads((tmp_path / named).read_text())
    assert report["pairs"] == [{"sequence": ["bear", "boat"][int(rank)], "anchor": "00000", "frame": "00002"}]


def test_losses_and_the_signal_are_one_reduction(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced: list[torch.Tensor] = []
    monkeypatch.setattr(finite_loss.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(finite_loss.dist, "all_reduce", lambda tensor, _: reduced.append(tensor.clone()))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(global_step=1, global_rank=0, world_size=1, strategy=strategy)
    callback = FiniteLoss("")
    for _ in range(3):
        batch: Any = {"key": torch.zeros(1, 3)}
        callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(1.0)}, batch, 0)  # type: ignore[arg-type]
    assert callback.check(trainer, signalled=True) is True
    assert [numbers.tolist() for numbers in reduced] == [[0, 1]]
