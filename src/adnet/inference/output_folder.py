"""Reserve the output folder of `predict` or `evaluate` for one run, whose videos several processes may share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from adnet.data.flow_folder import FlowFolder
from adnet.errors import UserError
from adnet.shared.check_config import walk
from adnet.shared.files import files_sha256, read_json, remembered, remove, remove_abandoned, sha256, write_json
from adnet.shared.locks import LOCKS, one_at_a_time, try_lock

T = TypeVar("T")

PLAIN: dict[str, Any] = {"backend": "torch", "postprocess": None, "files_sha256": {}}
"""The settings, as `built_postprocess` returns them, of a network of PyTorch's without a postprocess."""

_OLD_DEFAULTS: dict[str, Any] = {"options": {}, "flow": None, "precision": "fp32", **PLAIN}
"""Values of settings that older versions did not record."""


@contextmanager
def locked_output(
    marker: Path, kind: str, described: Mapping[str, Any], overwrite: bool, replaced: Iterable[Path], shard: Shard
) -> Iterator[dict[str, Any]]:
    """Take the folder of `marker` for one run, or its shards, until the block ends; yield that run's marker, or {}.

    A new folder that stays empty is removed.

    Args:
        marker: `evaluation.json` or `predict.json`.
        kind: name of a run in messages.
        described: identifies the run: its settings, and the content of all files that it reads.
        overwrite: take the folder from another run, and delete `replaced`.
        replaced: the files and folders that a run writes. A folder that holds a marker alone may be taken by another run.

    Raises UserError if the folder belongs to another run, holds something else, is a file or in use, and for `overwrite` with several
    shards. Nothing is locked where `try_lock` can't.
    """
    folder = marker.parent
    if overwrite and shard.count > 1:
        raise UserError(f"overwrite=true: shards would delete each other's results; delete {folder} instead")
    if folder.is_file():
        raise UserError(f"output={folder} is a file; give a folder")
    in_use = UserError(f"{folder} is in use by another {kind}: wait for it or stop it, or give another output")
    with ExitStack() as stack:
        for path in (*reversed(folder.parents), folder):
            stack.enter_context(removed_if_empty(path))
        folder.mkdir(parents=True, exist_ok=True)
        for written in {folder, *(path.parent for path in replaced)}:
            remove_abandoned(written)
        descriptor = -1
        if LOCKS:  # a folder has no descriptor on Windows
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        with shard.locked(folder):
            locked = try_lock(descriptor)
            earlier = None if overwrite else _same_run(marker, described)
            if not locked and (shard.count == 1 or earlier is None):
                raise in_use
            if overwrite:
                remove(replaced)
            elif earlier is None and any(path != marker for path in folder.iterdir()):
                holds = f"holds another {kind}" if marker.is_file() else f"is not empty and holds no {kind}"
                raise UserError(f"{folder} {holds}; give another output, or overwrite=true")
            if earlier is None:
                write_json(marker, described)
            if shard.count > 1 and not try_lock(descriptor, shared=True):
                raise in_use
        yield earlier or {}


def _same_run(marker: Path, described: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the marker if it is that of the described run, else return None. Raises UserError if it is damaged."""
    earlier = read_json(marker) if marker.is_file() else {}
    known = _OLD_DEFAULTS | earlier
    return earlier if earlier and all(known.get(key) == value for key, value in described.items()) else None


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Delete `folder` at the end if the block made it and left it empty."""
    made = not folder.exists()
    try:
        yield
    finally:
        if made:
            with suppress(OSError):  # it is not empty, or not there
                folder.rmdir()


@contextmanager
def removed_after_user_error(made: Iterable[Path]) -> Iterator[None]:
    """Delete the files and folders in `made` if the block raises UserError: the corrected command is another run."""
    try:
        yield
    except UserError:
        remove(made)
        raise


def built_postprocess(cfg: DictConfig) -> tuple[Any, dict[str, Any]]:
    """Build the `postprocess` of a command's config, if any; also return the settings that, with it, determine the masks.

    They are `backend`, the config of `postprocess`, and the SHA-256 of each file that it or `anchor` names.
    """
    postprocess = instantiate(cfg.postprocess) if cfg.get("postprocess") else None
    settings = without_device(OmegaConf.to_container(cfg.postprocess, resolve=True)) if postprocess else None
    files = contents([cfg.get("anchor"), settings])
    return postprocess, {"backend": cfg.get("backend", "torch"), "postprocess": settings, "files_sha256": files}


def contents(settings: Any) -> dict[str, str]:
    """Hash each file that is named in `settings`, nested lists and dictionaries; return SHA-256 by path."""
    texts = (value for _, value in walk(settings) if isinstance(value, str))
    return {text: sha256(Path(text)) for text in texts if Path(text).is_file()}


def without_device(settings: Any) -> Any:
    """Return `settings` (nested lists and dictionaries) with each `device` set to None, because it does not change results."""
    if isinstance(settings, dict):
        return {key: None if key == "device" else without_device(value) for key, value in settings.items()}
    return [without_device(value) for value in settings] if isinstance(settings, list) else settings


def describe_flow(method: object, videos: Iterable[str]) -> dict[str, Any] | None:
    """Describe the settings of a flow method, and hash the files of `videos` that it reads; None without one.

    Raises UserError for a video without a folder of flow.
    """
    if method is None:
        return None
    hashes: dict[str, str] = {}
    if isinstance(method, FlowFolder):
        read = {video: [*method.found(video).values()] for video in videos}
        every = [file for files in read.values() for file in files]
        hashes = remembered(f"flow of {[*read]}", every, lambda: {video: files_sha256(read[video]) for video in read})
    return {"method": repr(method), "files_sha256": hashes}


@dataclass(frozen=True)
class Shard:
    """Process number `index` of `count`; by default the only one. Raises UserError if `index` is not in [0, count)."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"shard={self.index}: with shards={self.count}, it is one of 0 to {self.count - 1}")

    def part_of(self, videos: Sequence[T]) -> list[T]:
        """Return every `count`-th video, so that each belongs to exactly one shard."""
        return list(videos[self.index :: self.count])

    def locked(self, output: Path) -> AbstractContextManager[None]:
        """Run a block while no other shard of the same folder does. The lock file is beside the folder, not in it."""
        return nullcontext() if self.count == 1 else one_at_a_time(output.parent / f".{output.name}.lock")
