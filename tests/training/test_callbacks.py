from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adnet.training.callbacks import Throughput

BATCH = {"mask": torch.zeros(3, 2, 2, dtype=torch.bool)}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_rates_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, logged = Clock(), {}
    monkeypatch.setattr(time, "perf_counter", clock)
    trainer: Any = SimpleNamespace(world_size=2)
    module: Any = SimpleNamespace(log=lambda name, value: logged.update({name: float(value)}))
    throughput = Throughput(window=2)

    def batch(wait: float, work: float) -> None:
        clock.now += wait
        throughput.on_train_batch_start()
        clock.now += work
        throughput.on_train_batch_end(trainer, module, None, BATCH, 0)

    throughput.on_train_epoch_start()
    batch(9, 1)
    batch(1, 3)
    assert throughput.means()[0] == pytest.approx(6 / 14)
    batch(0, 4)  # the first leaves the window
    del logged["train/memory_gib"]
    assert logged == pytest.approx({"train/pairs_per_second": 2 * 6 / 8, "train/data_wait": 1 / 8})

    clock.now += 100  # a validation, and then the next epoch, whose loader starts
    throughput.on_validation_end()
    clock.now += 5
    throughput.on_train_epoch_start()
    batch(2, 2)
    assert throughput.means()[1] == pytest.approx(2 / 8)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux")
def test_memory_is_the_peak_that_the_system_counts() -> None:
    logged: dict[str, float] = {}
    module: Any = SimpleNamespace(log=lambda name, value: logged.update({name: float(value)}))
    throughput = Throughput()
    throughput.on_train_epoch_start()
    throughput.on_train_batch_end(SimpleNamespace(world_size=1), module, None, BATCH, 0)  # type: ignore[arg-type]
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    assert logged["train/memory_gib"] == pytest.approx(int(peak[1]) / 2**20, rel=0.02)
