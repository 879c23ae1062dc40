"""The output folder of `predict` and `evaluate`: it belongs to one run, which may be shared out to several processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from adnet.data.flow_folder import FlowFolder
from adnet.errors import UserError
from adnet.shared.files import files_sha256, read_json, remove, sha256, write_json

T = TypeVar("T")

_BEFORE: dict[str, Any] = {
    "backend": "torch",
    "postprocess": None,
    "files_sha256": {},
    "flow": None,
    "precision": "fp32",
}
"""What these were before there was a choice."""


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
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file; give a folder")
    if overwrite:
        remove(replaced)
    elif marker.is_file():
        earlier = read_json(marker)
        if {key: (_BEFORE | earlier).get(key) for key in described} == described:
            return earlier
        if any(path.exists() for path in replaced):
            raise UserError(f"{folder} holds another {kind}; give another output, or overwrite=true")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no {kind}; give another output, or overwrite=true")
    write_json(marker, described)
    return {}


@contextmanager
def removed_after_user_error(made: Iterable[Path]) -> Iterator[None]:
    """Delete what was `made` if the block ends in a UserError.

    Once the mistake is mended, in an image or a setting, it is another run, which such a rest would only bar from the folder.
    """
    try:
        yield
    except UserError:
        remove(made)
        raise


def contents(settings: Any) -> dict[str, str]:
    """Hash each file that `settings`, nested lists and dictionaries of plain values, names: SHA-256 by path."""
    return {text: sha256(Path(text)) for text in _texts(settings) if Path(text).is_file()}


def without_device(settings: Any) -> Any:
    """`settings`, nested lists and dictionaries of plain values, with no `device` named: results are not told apart by it."""
    if isinstance(settings, dict):
        return {key: None if key == "device" else without_device(value) for key, value in settings.items()}
    return [without_device(value) for value in settings] if isinstance(settings, list) else settings


def describe_flow(method: object, videos: Iterable[str]) -> dict[str, Any] | None:
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


@dataclass(frozen=True)
class Shard:
    """Number `index` of `count` processes; by default the only one. Raises UserError for a number that isn't among them."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"shard={self.index}: with shards={self.count}, it is one of 0 to {self.count - 1}")

    def mine(self, videos: Sequence[T]) -> list[T]:
        """Every `count`-th video, so that each is of one shard."""
        return list(videos[self.index :: self.count])

    @contextmanager
    def alone(self, output: Path) -> Iterator[None]:
        """No other shard is in here for the same folder. The lock is beside it: the folder has what one process would leave."""
        if self.count == 1:
            yield
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(output.parent / f".{output.name}.lock"):
            yield

    def refuse_overwrite(self, output: Path, overwrite: bool) -> None:
        """Raise UserError where several shards would each delete what the others have made."""
        if overwrite and self.count > 1:
            raise UserError(
                f"overwrite=true with several shards: each would delete what the others make; delete {output} instead"
            )
