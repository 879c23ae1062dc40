"""Measure time, memory and peak speed of a device. Calls on a GPU return before their work is done, so timing must wait for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from adnet.errors import UserError

_PROCESS = Path("/proc/self")

PRECISIONS = ("fp32", "tf32", "bf16")


def precisions(wanted: list[str] | None, device: torch.device) -> list[str]:
    """Choose the precisions to measure; None: all on a GPU, float32 otherwise. Raises UserError for TF32 without a GPU."""
    chosen = list(wanted) if wanted is not None else list(PRECISIONS if device.type == "cuda" else PRECISIONS[:1])
    if "tf32" in chosen and device.type != "cuda":
        raise UserError("precisions names 'tf32', which only NVIDIA's GPUs have: leave it out, or give device=cuda")
    return chosen


def wait(device: torch.device) -> None:
    """Wait until the device has finished all of its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in one of `PRECISIONS`: float32, float32 with TF32, or autocast to bfloat16."""
    with float32(precision == "tf32"), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def float32(tf32: bool) -> Iterator[None]:
    """Compute float32 matrix products and convolutions in full precision, or in TF32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def matmul_peak(device: torch.device, precision: str = "fp32") -> float:
    """Measure the speed of multiplying two square matrices, in GFLOP/s: the best of three runs, after one to warm up."""
    side = 8192 if device.type == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.rand(2, side, side, device=device).to(dtype)
    taken = []
    with computing(device, precision):
        for _ in range(4):
            wait(device)
            started = time.perf_counter()
            torch.mm(a, b)
            wait(device)
            taken.append(time.perf_counter() - started)
    return 2 * side**3 / min(taken[1:]) / 1e9


def memory_mib(device: torch.device, work: Callable[[], Any]) -> float | None:
    """Measure the peak memory of `work` beyond what is in use before, in MiB; None if the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    resident = _status_mib("VmRSS")
    with suppress(OSError):  # not every kernel can reset the peak
        (_PROCESS / "clear_refs").write_text("5", encoding="utf-8")
    work()
    peak = _status_mib("VmHWM")
    return None if peak is None or resident is None else peak - resident


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the type of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _status_mib(field: str) -> float | None:
    """Read a field of this process's status (VmRSS: resident memory, VmHWM: its peak), in MiB; None if the system has none."""
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return None
