"""Checkpoints on disk: whole or not there, and always one more than the last."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from adnet.errors import UserError

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file, to disk, then renames; `last.ckpt` becomes `previous.ckpt` when the next one is whole.

    Lightning's own writes by way of the system's temporary folder, which may be another disk: a copy, and not atomic.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,  # noqa: ARG002 (of other filesystems)
    ) -> None:
        """Write `checkpoint` to `path`. Raises UserError if it can't be written; what was there before stays."""
        path = Path(path)
        draft = path.with_name(f".{path.name}.draft")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            if path.name == LAST and path.is_file():
                os.replace(path, path.with_name(PREVIOUS))
            os.replace(draft, path)
        except (OSError, RuntimeError) as error:
            with suppress(OSError):
                draft.unlink()
            raise UserError(
                f"cannot write {path}: {_reason(error)}; the checkpoints there are whole: make room, and the same command "
                "goes on from them"
            ) from error


def whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` that can be read to its end; None if nothing was saved there.

    Raises UserError if there are some and none is whole.
    """
    found = [path for name in (LAST, PREVIOUS) if (path := folder / name).is_file()]
    for path in found:
        if _is_whole(path):
            return path
    if found:
        raise UserError(f"no checkpoint in {folder} is whole: remove the folder to train from the start")
    return None


def _is_whole(path: Path) -> bool:
    try:
        with ZipFile(path) as file:
            return file.testzip() is None  # checksums of all that is in it
    except (BadZipFile, OSError, EOFError, RuntimeError, ValueError, zlib.error):
        return False  # a wrong bit may ask for a password, another compression, or a name in another encoding


def _reason(error: BaseException) -> str:
    """PyTorch puts words of its own around what the system said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.strerror or str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]
