"""Lock a run folder, so that one training at a time works in it."""

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
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Lock a run folder until the block ends or this process dies. Rank 0 holds the lock for all ranks.

    Raises UserError, naming the process that holds the lock, if another training does.
    """
    if getattr(rank_zero_only, "rank", 0):  # set by Lightning
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
        with file.open("a+", encoding="utf-8") as lock:
            try:
                # Not `flock`: loader workers would inherit that lock, and may outlive a killed training by seconds.
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                lock.seek(0)
                raise UserError(
                    f"{file.parent} is in use by another training ({lock.read() or 'just started'}): wait for it or "
                    "stop it, or give another hydra.run.dir"
                ) from error
            # Try again if the previous holder removed the file after we opened it: a third process could create a new one.
            if file.exists() and os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                yield lock
                return
