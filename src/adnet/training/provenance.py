"""Identify the code and the libraries of a run. Its data is identified by `adnet.data.sequence.fingerprint`."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from adnet.shared.machine import installed


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
    packages = (
        "adnet",
        "torch",
        "torchvision",
        "lightning",
        "timm",
        "albumentations",
        "opencv-python-headless",
        "numpy",
    )
    return {"python": platform.python_version(), **installed(*packages)}
