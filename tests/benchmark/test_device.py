from __future__ import annotations

import pytest
import torch

from adnet.benchmark import device as benchmark_device
from adnet.benchmark.device import PRECISIONS, computing, device_name, matmul_peak, memory_mib, precisions, wait
from adnet.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def test_a_gpu_s_memory_is_its_allocator_s_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 10 * 2**20)
    assert memory_mib(GPU, lambda: None) == 7


def test_a_gpu_says_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert (device_name(GPU), device_name(CPU)) == ("a GPU", "cpu")


def test_the_peak_is_that_of_the_best_multiplication(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one warms up. On a GPU, the clock is read when the work before and the multiplication are done."""
    waits: list[torch.device] = []
    monkeypatch.setattr(benchmark_device, "wait", waits.append)
    clock = iter([0, 0.001, 1, 5, 6, 8, 9, 12])
    monkeypatch.setattr(benchmark_device.time, "perf_counter", lambda: next(clock))
    assert matmul_peak(CPU, "bf16") == pytest.approx(2 * 1024**3 / 2.0 / 1e9)
    assert len(waits) == 8


def test_a_gpu_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    wait(GPU)
    wait(CPU)
    assert waited_for == [GPU]


def test_each_precision_computes_as_it_says() -> None:
    def state() -> tuple[str, bool, bool]:
        tf32 = torch.backends.cudnn.allow_tf32
        return torch.get_float32_matmul_precision(), tf32, torch.is_autocast_enabled("cpu")

    before, seen = state(), {}
    for name in PRECISIONS:
        with computing(CPU, name):
            seen[name] = state()
    assert seen == {"fp32": ("highest", False, False), "tf32": ("high", True, False), "bf16": ("highest", False, True)}
    assert state() == before


def test_which_precisions_are_measured() -> None:
    assert precisions(None, GPU) == ["fp32", "tf32", "bf16"]
    assert precisions(None, CPU) == ["fp32"]
    assert precisions(["bf16"], CPU) == ["bf16"]
    with pytest.raises(UserError, match="only NVIDIA's GPUs"):
        precisions(["fp32", "tf32"], CPU)
