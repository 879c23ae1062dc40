"""A run folder belongs to one training at a time."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lightning.pytorch.utilities import rank_zero_only

from adnet.errors import UserError

LOCK = ".training.lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder while the block lasts, or until this process is gone, however it ends.

    Of several ranks the first holds it for all. Raises UserError, with who has it, if another training does.
    """
    if getattr(rank_zero_only, "rank", 0):  # Lightning sets it
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    with _locked(file) as lock:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def _locked(file: Path) -> Iterator[IO[str]]:
    while True:
        with file.open("a+") as lock:
            try:
                # Of this process alone: loader workers, which may outlive a killed one by seconds, don't inherit it.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                lock.seek(0)
                raise UserError(
                    f"{file.parent} is in use by another training ({lock.read() or 'which has just begun'}): wait for it or "
                    "stop it, or give another hydra.run.dir"
                ) from error
            # Else whoever had it has removed it since it was opened, and the next one would make another.
            if file.exists() and os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                yield lock
                return
