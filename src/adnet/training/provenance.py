"""What a run was made from: code, libraries, data."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adnet.data.sequence import VideoDataset


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


def fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Names, sizes and a SHA-256 over the annotations: equal for equal data, wherever it lies."""
    digest = hashlib.sha256()
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            digest.update(f"{sequence.name}/{frame.stem}\n".encode())
            if frame.stem in sequence.annotations:
                digest.update(hashlib.sha256(sequence.annotations[frame.stem].read_bytes()).digest())
    return {
        "sequences": [sequence.name for sequence in dataset.sequences],
        "frames": sum(len(sequence.frames) for sequence in dataset.sequences),
        "sha256": digest.hexdigest(),
    }
