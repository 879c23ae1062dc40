"""Locks between processes. The system frees each when its holder dies, be it by SIGKILL. Windows has only `one_at_a_time`."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from adnet.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    LOCKS = False
else:
    LOCKS = True


def try_lock(descriptor: int, shared: bool = False, inherited: bool = True, without: bool = True) -> bool:
    """Lock an open file or folder without waiting, until its descriptor is closed; return False if another process prevents it.

    A `shared` lock tolerates others of its kind. An `inherited` one is held by child processes, too, for as long as they live;
    otherwise this must be a file open for writing. On Windows and on file systems without locks, returns `without`.
    """
    if not LOCKS:
        return without
    lock = fcntl.flock if inherited else fcntl.lockf
    try:
        lock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return without
    return True


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Lock a file or folder during the block; yield whether it is locked, which it can't be if another process has it."""
    if not LOCKS:
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        yield try_lock(descriptor, without=False)
    finally:
        os.close(descriptor)


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Run the block while no other process runs one with the same lock file, which is created and stays; a second one waits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file):
        yield


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Lock a run folder for one training. Raises UserError, naming the process that holds the lock, if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ".training.lock"
    while True:
        with file.open("a+", encoding="utf-8") as lock:
            # Not inherited: loader workers may outlive a killed training by seconds.
            if not try_lock(lock.fileno(), inherited=False):
                lock.seek(0)
                raise UserError(
                    f"{folder} is in use by another training ({lock.read() or 'just started'}): wait for it or stop it, or "
                    "give another hydra.run.dir"
                )
            # Try again if the previous holder removed the file after we opened it: a third process could create a new one.
            if file.exists() and os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {socket.gethostname()}")
                lock.flush()
                try:
                    yield
                finally:
                    file.unlink(missing_ok=True)
                return
