from __future__ import annotations

import copy
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adnet.models import ADNet
from adnet.models.recomputation import recompute_blocks
from adnet.training.loss import Loss, total
from adnet.training.memory import GIB, StepSettings, TrainingMemory
from adnet.training.module import batch_loss

CROP = (33, 57)
ROOT = Path(__file__).parents[2]
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


@pytest.fixture
def model(tiny_model_config: dict[str, Any]) -> ADNet:
    return ADNet.from_config(tiny_model_config | {"aux_weight": 0.5})


def counted(model: ADNet, **options: Any) -> TrainingMemory:
    return TrainingMemory(model, Loss(), SGD, (257, 449), **options)


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_what_is_counted_is_what_a_real_step_keeps(model: ADNet, precision: str, recomputed: bool) -> None:
    """On a CPU, whose autocast and attention keep the same but for a few rows."""
    memory = TrainingMemory(model, Loss(), SGD, CROP).of(StepSettings(precision, recomputed, 2))
    real = copy.deepcopy(model).to(torch.bfloat16 if precision == "bf16-true" else torch.float32)
    if recomputed:
        recompute_blocks(real.encoder.backbone)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    frames = torch.zeros(2, 3, *CROP, dtype=torch.uint8)
    batch: Any = {"anchor": frames, "frame": frames, "mask": torch.zeros(2, *CROP, dtype=torch.bool)}
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"),
    ):
        loss = total(batch_loss(real, Loss(), batch))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*real.parameters(), *real.buffers())}
    expected = sum(size for storage, size in kept.items() if storage not in own)
    assert memory.activations == pytest.approx(expected, rel=0.03)
    assert memory.gradients == sum(parameter.nbytes for parameter in real.parameters())
    assert memory.optimizer == memory.gradients  # the momentum
    assert loss.isfinite()


def test_settings_take_less(model: ADNet) -> None:
    memory = counted(model)
    full, half, blocks = (
        memory.of(StepSettings(*setting)).activations
        for setting in [("32-true", False, 4), ("bf16-true", False, 4), ("32-true", True, 4)]
    )
    assert 0.45 < half / full < 0.6
    assert blocks < 0.7 * full
    assert memory.of(StepSettings("32-true", False, 2)).activations == pytest.approx(full / 2, rel=0.01)
    plain, averaged = (
        memory.of(StepSettings("32-true", False, 2)),
        counted(model, copies=(2, 2)).of(StepSettings("32-true", False, 2)),
    )
    assert (averaged.weights, averaged.gradients) == (2 * plain.weights, 2 * plain.gradients)
    assert memory.of(StepSettings("32-true", False, 2)) == plain  # counting changes nothing
    assert not memory.recomputed


def test_the_nearest_setting_that_fits_is_named(model: ADNet) -> None:
    memory, now = counted(model), StepSettings("32-true", False, 4)
    first = memory.smaller(now, memory.of(now).total)
    assert first is not None
    assert (first[0], first[1]) == (
        StepSettings("bf16-mixed", False, 4),
        memory.of(StepSettings("bf16-mixed", False, 4)),
    )
    least = StepSettings("bf16-mixed", True, 4)
    last = memory.smaller(least, memory.of(least).total)
    assert last is not None
    assert last[0] == StepSettings("bf16-mixed", True, 2)
    assert last[0].overrides(now, 1) == (
        "trainer.precision=bf16-mixed model.encoder.checkpoint_activations=true trainer.accumulate_grad_batches=2"
    )
    assert memory.smaller(StepSettings("bf16-mixed", True, 1), GIB) is None  # one pair each, whose batch norm is shared


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (2.0, "of weights, gradients and the optimiser's state; 20.0 GiB are free"),
        (0.8, "which is too little: trainer.precision=bf16-mixed takes about"),
        (0.0, "which is too little: no precision, checkpointing or accumulated batches would do"),
    ],
)
def test_the_figure_is_held_against_the_gpu(
    model: ADNet, free: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, setting = counted(model), StepSettings("32-true", False, 4)
    need = memory.of(setting).total
    room = 20 * GIB if free == 2.0 else int(free * need)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (room, 20 * GIB))
    line = memory.line(setting, 1, torch.device("cuda"))
    assert line.startswith(f"memory: {need / GIB:.1f} GiB a step: ")
    assert expected in line
    assert memory.line(setting, 1, torch.device("cpu")) == f"memory: {memory.of(setting)}"


def test_out_of_memory_is_answered_by_what_fits(model: ADNet, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, setting = counted(model), StepSettings("32-true", False, 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, memory.of(setting).total // 2))
    answer = memory.out_of_memory(setting, 2, torch.device("cuda"))
    assert "model.encoder.checkpoint_activations=true" in answer or "trainer.accumulate_grad_batches=4" in answer
    assert "\n" not in answer


def test_a_motion_branch_counts(tiny_model_config: dict[str, Any]) -> None:
    config = tiny_model_config | {"variant": "full_motion", "motion": tiny_model_config["encoder"]}
    still = counted(ADNet.from_config(tiny_model_config)).of(StepSettings("32-true", False, 2))
    moving = counted(ADNet.from_config(config)).of(StepSettings("32-true", False, 2))
    assert 1.3 * still.activations < moving.activations < 2 * still.activations


@pytest.mark.slow
def test_the_page_has_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import memory_table

    memory = memory_table.paper_scale()
    cells = dict(
        re.findall(r"^\| ((?:32|bf16)[\w, -]*) \| (.*) \|$", (ROOT / "docs" / "memory.md").read_text(), re.MULTILINE)
    )
    assert list(cells) == list(memory_table.ROWS)
    for row, pairs in (("32", 8), ("bf16, checkpointing", 1)):
        assert cells[row].split(" | ")[memory_table.PAIRS.index(pairs)] == memory_table.gib(memory, row, pairs)


def test_a_fused_optimiser_is_counted_like_any_other(model: ADNet) -> None:
    plain, fused = (
        TrainingMemory(model, Loss(), partial(torch.optim.AdamW, lr=0.1, fused=fused), CROP).of(
            StepSettings("32-true", False, 2)
        )
        for fused in (False, True)
    )
    assert fused == plain
