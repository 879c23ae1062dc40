"""Write checkpoints atomically, keeping the previous one, and find the newest intact one."""

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
    """Write to a draft beside the file, flush it to disk, then rename it; the old `last.ckpt` becomes `previous.ckpt`.

    Lightning's own class writes to the system's temporary folder first, possibly on another disk. Moving a file between
    disks is a copy, which is not atomic.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any = None,  # noqa: ARG002 (for remote file systems)
    ) -> None:
        """Write `checkpoint` to `path`. Raises UserError if that fails; earlier checkpoints stay intact."""
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
                f"cannot write {path}: {_reason(error)}; the earlier checkpoints are intact: free some space and repeat the "
                "command to continue from them"
            ) from error


def whole_checkpoint(folder: Path) -> Path | None:
    """Find the newest intact checkpoint in `folder`; None if there is no checkpoint.

    Raises UserError if all of them are damaged.
    """
    found = [path for name in (LAST, PREVIOUS) if (path := folder / name).is_file()]
    for path in found:
        if _is_whole(path):
            return path
    if found:
        raise UserError(f"all checkpoints in {folder} are damaged: remove the folder to train from the start")
    return None


def _is_whole(path: Path) -> bool:
    try:
        with ZipFile(path) as file:
            return file.testzip() is None  # checks all checksums
    except (BadZipFile, OSError, EOFError, RuntimeError, ValueError, zlib.error):
        return False  # a flipped bit may also look like a password, another compression, or another encoding of a name


def _reason(error: BaseException) -> str:
    """Return the system's message, which PyTorch wraps in its own errors."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.strerror or str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0]
