from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from adnet.benchmark import gpu_check
from adnet.benchmark.__main__ import main


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a busy machine
@pytest.mark.parametrize("left_out", [("compile", "two_ranks"), pytest.param((), marks=pytest.mark.nightly)], ids=str)
def test_the_cpu_s_half_passes(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, left_out: tuple[str, ...]
) -> None:
    """Without PyTorch's compiler, and the check of two ranks, a training in two processes, as test_train.py has it."""
    expected = {"fp32", "bf16", "compile", "checkpointing", "resume", "two_ranks"} - {*left_out}
    for name in left_out:
        monkeypatch.delitem(gpu_check.CHECKS, name)
    ended = run(main, "what=gpu_check", "gpu_check.cpu=true", "output=check.json")
    assert ended.code == 0, ended.err
    assert "on the CPU: TF32" in ended.out
    found = json.loads(Path("check.json").read_text())
    assert (found["half"], found["failed"]) == ("cpu", [])
    assert found["environment"]["torch_version"] == torch.__version__
    assert {"torch", "lightning", "python"} <= set(found["versions"])
    results = {name: check["result"] for name, check in found["checks"].items()}
    assert results.pop("tf32") == "skipped"
    assert set(results) == expected
    assert set(results.values()) == {"passed"}
    for check in (found["checks"][name] for name in results):
        assert check["largest_difference"] <= check["tolerance"]
    assert found["checks"]["resume"]["losses"] == found["cpu_losses"][1:]  # the step after the checkpoint
    assert found["checks"]["bf16"]["largest_difference"] > 0  # it was another precision


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_s_half_passes(run: Callable[..., Any]) -> None:
    ended = run(main, "what=gpu_check", "output=check.json")
    assert ended.code == 0, ended.err
    assert json.loads(Path("check.json").read_text())["half"] == "gpu"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the checks be these functions, beside CPU's losses of 0.7 and 0.6."""

    def checks(**given: Callable[..., list[float]]) -> None:
        monkeypatch.setattr(gpu_check._Training, "run", lambda *_, **__: [0.7, 0.6])
        monkeypatch.setattr(gpu_check, "CHECKS", given)

    return checks


def broken(_: Any) -> list[float]:
    raise RuntimeError("CUDA error: no kernel image\nand more")


def test_a_check_that_fails_is_named_and_written_down(run: Callable[..., Any], quick: Callable[..., None]) -> None:
    quick(fp32=lambda _: [0.7, 0.6003], bf16=lambda _: [0.7, 0.9], compile=broken, resume=lambda _: [float("nan")])
    ended = run(main, "what=gpu_check", "output=check.json")
    assert ended.code == 1
    assert "gpu_check: bf16, compile, resume failed" in ended.err
    found = json.loads(Path("check.json").read_text())
    assert found["failed"] == ["bf16", "compile", "resume"]
    assert found["checks"]["fp32"]["result"] == "passed"
    assert found["checks"]["bf16"]["largest_difference"] == pytest.approx(0.5)
    assert found["checks"]["compile"]["why"] == "RuntimeError: CUDA error: no kernel image\nand more"


def test_what_has_no_sense_here_is_skipped_with_the_reason(run: Callable[..., Any], quick: Callable[..., None]) -> None:
    def one_gpu(_: Any) -> list[float]:
        raise gpu_check.Skipped("NCCL needs two GPUs, and there is one")

    quick(fp32=lambda _: [0.7, 0.6], two_ranks=one_gpu)
    ended = run(main, "what=gpu_check", "output=check.json")
    assert ended.code == 0
    check = json.loads(Path("check.json").read_text())["checks"]["two_ranks"]
    assert (check["result"], check["why"]) == ("skipped", "NCCL needs two GPUs, and there is one")
