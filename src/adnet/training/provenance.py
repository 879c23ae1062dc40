"""What a run was made from: code and libraries. For its data see `adnet.data.sequence`."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def git_commit() -> str | None:
    """The commit of the checkout that this package is in, with `-dirty` if it has changes; None outside of one."""
    here = Path(__file__).parent
    try:
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=here, capture_output=True, check=False
        )
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return described.stdout.strip() or None if tracked.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
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
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
