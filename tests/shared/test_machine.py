from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from adnet.shared import machine
from adnet.shared.machine import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from adnet.shared.machine import keep_freed_memory
{call}
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(call: str) -> int:
    command = [sys.executable, "-c", FAULTS.format(call=call)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_memory_is_used_again() -> None:
    assert page_faults("keep_freed_memory()") < 100 < page_faults("")


class Library:
    """Stands for the C library, of which each call is noted."""

    def __init__(self, calls: list[tuple[int, int]]) -> None:
        self.mallopt = lambda *arguments: calls.append(arguments)


def test_freed_memory_is_kept_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: Library(calls))
    keep_freed_memory()
    assert calls == [(-1, -1), (-4, 0)]  # M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: object())  # macOS and musl have no mallopt
    keep_freed_memory()


def test_windows_has_no_handle_to_the_program_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.sys, "platform", "win32")
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: pytest.fail("asked for"))
    keep_freed_memory()
