"""The machine that this runs on: its processors, its memory, its devices, and the code and the libraries on it."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from adnet.errors import UserError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def available_cpus() -> int:
    """Count the CPUs that this process may use; in a Slurm job or a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for this process. No effect with other C libraries.

    Each step allocates the same large tensors; clearing fresh pages took a fifth of the time at `scale=lite`.
    """
    if sys.platform == "win32":  # CDLL(None) does not work there
        return
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_MMAP_MAX, 0)


def installed(*packages: str) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def git_commit() -> str | None:
    """Return the commit of the checkout that contains this package, with `-dirty` if it has changes; None without one."""
    try:
        if _git("ls-files", "--error-unmatch", __file__).returncode != 0:
            return None
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").stdout.strip() or None
    except OSError:  # git is not installed
        return None


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on."""
    packages = "adnet torch torchvision lightning timm albumentations opencv-python-headless numpy"
    return {"python": platform.python_version(), **installed(*packages.split())}


@contextmanager
def handling(number: int, handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Handle a signal by `handler` in the block, if it runs in the main thread and nothing handles the signal yet."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL
    if ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(number, signal.SIG_DFL)


def need_extra(extra: str, module: str, what: str) -> None:
    """Raise UserError, with the command that installs `extra`, if `module`, which `what` needs, is not installed."""
    if sys.modules.get(module) is None and find_spec(module) is None:
        raise UserError(f"{what} needs the extra: pip install 'adnet[{extra}]'")


def usable_device(name: str | torch.device | None = None) -> torch.device:
    """Return the device called `name`; None: cuda if there is one, else cpu. Raises UserError unless it can compute."""
    import torch  # not needed to read the command line

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        # PyTorch's message lists all devices and dispatch keys.
        reason = shorten(str(error).splitlines()[0], 160, placeholder=" ...")
        raise UserError(f"device={name} can't be used ({reason}): give cpu, cuda or cuda:1, or leave it out") from error
    return device
