"""An output folder belongs to one run: it is resumed by the same and refused to any other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adnet.data.flow_folder import FlowFolder
from adnet.errors import UserError
from adnet.files import read_json, remove, sha256, write_json
from adnet.inference.exported import METADATA
from adnet.inference.shards import Shard
from adnet.models.pretrained import WEIGHTS

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
except ImportError:  # Windows
    LOCKS = False
else:
    LOCKS = True

_BEFORE: dict[str, Any] = {
    "backend": "torch",
    "postprocess": None,
    "files_sha256": {},
    "flow": None,
    "precision": "fp32",
}
"""What these were before there was a choice."""


@contextmanager
def claimed(
    marker: Path,
    kind: str,
    described: Mapping[str, Any],
    overwrite: bool,
    replaced: Iterable[Path],
    shard: Shard,
) -> Iterator[dict[str, Any]]:
    """`claim` the folder of `marker`, and hold it while the block lasts, or until this process is gone, however it ends.

    Shards of the same run share it. Raises UserError as `claim` does, and if another run, or the same in another process,
    is at work there. Nobody is kept out on Windows, and where folders can't be locked (NFS).
    """
    folder = marker.parent
    _refuse_file(folder)
    folder.mkdir(parents=True, exist_ok=True)
    in_use = UserError(f"{folder} is in use by another {kind}: wait for it or stop it, or give another output")
    with _opened(folder) as descriptor:
        with shard.alone(folder):
            if not _lock(descriptor, alone=True) and (shard.count == 1 or not _is_of(marker, described)):
                raise in_use
            earlier = claim(marker, kind, described, overwrite, replaced)
            if shard.count > 1 and not _lock(descriptor, alone=False):
                raise in_use
        yield earlier


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A descriptor of the folder, which can be locked; None where there are none."""
    if not LOCKS:
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int | None, alone: bool) -> bool:
    """Lock for this process, or with others; whether nobody was in the way."""
    if descriptor is None:
        return True
    try:
        flock(descriptor, (LOCK_EX if alone else LOCK_SH) | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system that can't
        return True
    return True


def _is_of(marker: Path, described: Mapping[str, Any]) -> bool:
    """Whether the marker is there and of this run."""
    if not marker.is_file():
        return False
    earlier = _BEFORE | read_json(marker)
    return {key: earlier.get(key) for key in described} == described


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file; give a folder")


def claim(
    marker: Path, kind: str, described: Mapping[str, Any], overwrite: bool, replaced: Iterable[Path]
) -> dict[str, Any]:
    """Make the folder of `marker` (`evaluation.json`) that of a run; what the marker said before, if of the same run.

    `kind` is what a run is called; `described` is what tells runs apart: the settings, and the content of all that is read.
    `replaced` are the files and folders in it that a run writes. While there is none of them, the run that began there has
    left nothing, and any other may have the folder. With `overwrite` another run's folder is taken: they are deleted first,
    so that none of another run is ever taken for one of this. Raises UserError if the folder is another run's, not empty, or
    a file.
    """
    folder, replaced = marker.parent, list(replaced)
    _refuse_file(folder)
    if overwrite:
        remove(replaced)
    elif marker.is_file():
        if _is_of(marker, described):
            return read_json(marker)
        if any(path.exists() for path in replaced):
            raise UserError(f"{folder} holds another {kind}; give another output, or overwrite=true")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no {kind}; give another output, or overwrite=true")
    write_json(marker, described)
    return {}


@contextmanager
def gone_after_a_mistake(made: Iterable[Path]) -> Iterator[None]:
    """Delete what was `made` if the block ends in a UserError.

    Once the mistake is mended, in an image or a setting, it is another run, which such a rest would only bar from the folder.
    """
    try:
        yield
    except UserError:
        remove(made)
        raise


def checkpoint_sha256(checkpoint: Path) -> str:
    """Hash a checkpoint's file; of an export (its folder, or the `export.json` in it) and of weights alone all files."""
    folder = checkpoint.parent if checkpoint.name in (METADATA, WEIGHTS) else checkpoint
    return files_sha256(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else sha256(checkpoint)


def files_sha256(files: Iterable[Path]) -> str:
    """Hash several files, each by its name and content; in which order they come doesn't count."""
    lines = sorted(f"{file.name} {sha256(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def contents(settings: Any) -> dict[str, str]:
    """Hash each file that `settings`, nested lists and dictionaries of plain values, names: SHA-256 by path."""
    return {text: sha256(Path(text)) for text in _texts(settings) if Path(text).is_file()}


def without_device(settings: Any) -> Any:
    """`settings`, nested lists and dictionaries of plain values, with no `device` named: results are not told apart by it."""
    if isinstance(settings, dict):
        return {key: None if key == "device" else without_device(value) for key, value in settings.items()}
    return [without_device(value) for value in settings] if isinstance(settings, list) else settings


def described_flow(method: object, videos: Iterable[str]) -> dict[str, Any] | None:
    """What tells the optical flow of `videos` apart: the settings of `method` and, where it reads files, those of each video.

    None for a `method` of None. Raises UserError for a video without a folder of flow.
    """
    if method is None:
        return None
    read = {video: method.found(video).values() for video in videos} if isinstance(method, FlowFolder) else {}
    return {"method": repr(method), "files_sha256": {video: files_sha256(files) for video, files in read.items()}}


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _texts(child)
