"""GPUs of this machine, shared out between the jobs on it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from adnet.errors import UserError

FOLDER = Path("/tmp/adnet-gpus")
"""A lock for each GPU, the same for all users: `TMPDIR` may be of one user, or of one job."""


class Reserved(NamedTuple):
    """The `environment` that shows only the GPUs that are held, and the descriptors of their `locks`.

    A process that inherits these holds the GPUs, too, for as long as it lives.
    """

    environment: dict[str, str]
    locks: tuple[int, ...]


@contextmanager
def reserved(count: int | None) -> Iterator[Reserved]:
    """Hold `count` GPUs that no other job on this machine holds, whoever's it is.

    Waits until so many are free. Nothing is held, and the environment is left as it is, where `count` is None or there are
    no GPUs; more than there are is all of them. Raises UserError where `FOLDER` is something else, and OSError where it may
    not be written.
    """
    there = _visible() if count else {}
    if not count or not there:
        yield Reserved({}, ())
        return
    _make_folder()
    with ExitStack() as held:
        while True:
            mine: dict[str, int] = {}
            for gpu in there:
                if len(mine) < min(count, len(there)) and (lock := _lock(FOLDER / there[gpu], held)) is not None:
                    mine[gpu] = lock
            if len(mine) == min(count, len(there)):
                break
            held.close()  # two jobs that each wait for the other's would wait for ever
            time.sleep(1 + os.getpid() % 10 / 10)
        yield Reserved({"CUDA_VISIBLE_DEVICES": ",".join(mine)}, tuple(mine.values()))


def _make_folder() -> None:
    with _for_everyone(), suppress(FileExistsError):
        FOLDER.mkdir(mode=0o1777)  # sticky, as /tmp is: nobody removes another's
    if FOLDER.is_symlink() or not FOLDER.is_dir():
        raise UserError(f"{FOLDER} is not the folder of the GPUs' locks: remove it")


def _lock(path: Path, held: ExitStack) -> int | None:
    """A descriptor that holds the lock until `held` closes it; None if another has it.

    The file may be another user's. It is read only, so that nothing is done to it, and not opened as if it were to be made,
    which Linux forbids for another's file in such a folder (`fs.protected_regular`).
    """
    with _for_everyone(), suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return descriptor


@contextmanager
def _for_everyone() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def _visible() -> dict[str, str]:
    """GPUs as CUDA would see them, without the seconds that asking torch takes, each with what its lock is called.

    That is its UUID where it can be had, since a Slurm job or a container counts the GPUs that it was given from 0.
    """
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
        there = {
            index.strip(): uuid.strip()
            for index, _, uuid in (line.partition(",") for line in listed.stdout.splitlines())
        }
    except (OSError, subprocess.CalledProcessError):
        there = {}
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return there
    given = [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    return {gpu: there.get(gpu, gpu) for gpu in given}
