"""Memory of this process, as Linux counts it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_PROCESS = Path("/proc/self")


def reset_peak() -> None:
    """Let `peak_mib` count from here on; nothing happens where the kernel doesn't do that."""
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def peak_mib() -> float | None:
    """The most resident memory since `reset_peak`, in MiB; None where the system doesn't say."""
    return _status("VmHWM")


def resident_mib() -> float | None:
    """Resident memory now, in MiB; None where the system doesn't say."""
    return _status("VmRSS")


def _status(field: str) -> float | None:
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
    return None
