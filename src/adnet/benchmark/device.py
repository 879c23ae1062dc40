"""Time, memory and greatest speed of a device. A GPU works on after a call has returned: without a wait nothing on it is timed."""

from __future__ import annotations

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
    """Which to measure; None: all on a GPU, else float32. Raises UserError for an unknown one, and for TF32 without a GPU."""
    chosen = list(wanted) if wanted is not None else list(PRECISIONS if device.type == "cuda" else PRECISIONS[:1])
    if unknown := [name for name in chosen if name not in PRECISIONS]:
        raise UserError(f"precisions names {unknown[0]!r}: choose from {', '.join(PRECISIONS)}")
    if "tf32" in chosen and device.type != "cuda":
        raise UserError("precisions names 'tf32', which is of NVIDIA's GPUs: leave it out, or give device=cuda")
    return chosen


def wait(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device, work: Callable[[], Any]) -> float:
    """Time `work`, from its first to its last operation on the device: by CUDA's events on a GPU."""
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000  # from milliseconds


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in one of `PRECISIONS`: float32 without TF32, with it, or autocast to bfloat16."""
    with float32(precision == "tf32"), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def float32(tf32: bool) -> Iterator[None]:
    """Have float32 be itself, or TF32, in matrix products and convolutions."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def matmul_peak(device: torch.device, precision: str = "fp32", side: int | None = None) -> float:
    """GFLOP/s of multiplying two square matrices in `precision`: the best of three, after one that warms up.

    `side` is 1024 by default, and 8192 on a GPU.
    """
    side = side or (8192 if device.type == "cuda" else 1024)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.rand(2, side, side, device=device).to(dtype)
    with computing(device, precision):
        taken = [seconds(device, lambda: torch.mm(a, b)) for _ in range(4)]
    return 2 * side**3 / min(taken[1:]) / 1e9


def memory_mib(device: torch.device, work: Callable[[], Any]) -> float | None:
    """The most memory that `work` takes beyond what is taken already, in MiB; None where the system doesn't say."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        begun = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - begun) / 2**20
    before = _resident_mib()
    _reset_peak()
    work()
    most = _peak_mib()
    return most - before if most is not None and before is not None else None


def describe(device: torch.device) -> dict[str, Any]:
    """Which device it is, and its clock in MHz where the driver says so: a GPU's varies with heat and power."""
    if device.type != "cuda":
        return {"device": device.type, "clock_mhz": None}
    try:
        clock: int | None = torch.cuda.clock_rate(device)
    except (ModuleNotFoundError, RuntimeError):  # without pynvml, or its driver
        clock = None
    return {"device": torch.cuda.get_device_name(device), "clock_mhz": clock}


def _reset_peak() -> None:
    """Let `_peak_mib` count from here on; nothing happens where the kernel doesn't do that."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def _peak_mib() -> float | None:
    """The most resident memory since `_reset_peak`, in MiB; None where the system doesn't say."""
    return _status("VmHWM")


def _resident_mib() -> float | None:
    """Resident memory now, in MiB; None where the system doesn't say."""
    return _status("VmRSS")


def _status(field: str) -> float | None:
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return None
