from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
import torch

from adnet.models import ADNet
from adnet.models.recomputation import recompute_blocks
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir
from adnet.training import SegmentationModule, callbacks, poly
from adnet.training.callbacks import OnGPU

SIZE = (33, 57)


@pytest.fixture
def module(tiny_model_config: dict[str, Any]) -> SegmentationModule:
    torch.manual_seed(0)
    network = ADNet.from_config(tiny_model_config)
    return SegmentationModule(network, partial(torch.optim.SGD, lr=0.1), partial(poly, horizon=4), 1.0, SIZE)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to PyTorch, of whose GPU there is none."""
    done: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", done.append)
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic, **_: done.append(f"compiled, {dynamic}") or function
    )
    monkeypatch.setattr(callbacks, "can_compile", lambda: True)
    return done


def on(device: str, devices: int = 1, steps: int = 480) -> Any:
    strategy = SimpleNamespace(root_device=torch.device(device))
    return SimpleNamespace(strategy=strategy, world_size=devices, max_steps=steps)


@pytest.mark.parametrize(
    ("device", "devices", "steps", "compiled", "expected"),
    [
        ("cpu", 1, 30000, True, []),
        ("cuda", 1, 30000, False, ["high"]),
        ("cuda", 1, 30000, None, ["high", "compiled, False"]),
        ("cuda", 1, 480, None, ["high"]),
        ("cuda", 1, 480, True, ["high", "compiled, False"]),
        ("cuda", 2, 30000, True, ["high"]),
    ],
)
def test_what_serves_on_a_gpu_is_done_there(
    module: SegmentationModule,
    done: list[str],
    device: str,
    devices: int,
    steps: int,
    compiled: bool | None,
    expected: list[str],
) -> None:
    OnGPU(compiled=compiled).setup(on(device, devices, steps), module, "fit")
    assert done == expected


def test_a_network_that_computes_again_is_not_compiled(module: SegmentationModule, done: list[str]) -> None:
    recompute_blocks(module.model.encoder.backbone)
    OnGPU("highest", compiled=True).setup(on("cuda"), module, "fit")
    assert done == ["highest"]


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks.shutil, "which", lambda _: None)
    assert not callbacks.can_compile()


@pytest.mark.slow
def test_the_network_compiles_in_one_piece(module: SegmentationModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """By PyTorch's own tracing; what its compiler for GPUs makes of it is not seen here."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, fullgraph=True))
    for dropout in module.modules():
        if isinstance(dropout, torch.nn.Dropout2d):
            dropout.p = 0.0
    gradients = []
    frames = torch.rand(2, 2, 3, *SIZE)
    for compiled in (False, True):
        if compiled:
            module.compile_network("aot_eager")
        module.zero_grad()
        logits, _ = module._network(*frames)
        logits.mean().backward()
        gradients.append([logits.detach(), *(p.grad for p in module.parameters() if p.grad is not None)])
    assert module._network != module.model.forward_with_aux
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


def test_each_is_a_line_of_config() -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train")
        off = ("callbacks.on_gpu.compiled=false", "callbacks.on_gpu.matmul_precision=highest", "pairs.pin_memory=false")
        check_config(hydra.compose("train", [*off, "trainer.benchmark=false", "pairs.workers=3"]), "train")
    assert (cfg.callbacks.on_gpu.compiled, cfg.callbacks.on_gpu.matmul_precision) == (None, "high")
    assert (cfg.trainer.benchmark, cfg.pairs.pin_memory, cfg.pairs.workers) == (True, True, None)
