"""Reserve GPUs of this machine, so that no two jobs share one."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from adnet.errors import UserError
from adnet.shared.locks import try_lock

FOLDER = Path("/tmp/adnet-gpus")
"""The folder of the locks, one for each GPU, the same for all users (`TMPDIR` may belong to one user or one job)."""

_OF_THE_SHELL = "ADNET_CUDA_VISIBLE_DEVICES"
"""The variable in which a sweep tells its jobs what CUDA_VISIBLE_DEVICES was where it was started; "all" if it was not set."""


class Reserved(NamedTuple):
    """The `environment` that makes only the reserved GPUs visible, and the descriptors of their `locks`, for a process to inherit."""

    environment: dict[str, str]
    locks: tuple[int, ...]


def tell_jobs_the_gpus() -> None:
    """Keep CUDA_VISIBLE_DEVICES for the jobs that this process starts, see `undo_hiding`."""
    os.environ[_OF_THE_SHELL] = os.environ.get("CUDA_VISIBLE_DEVICES", "all")


def undo_hiding() -> None:
    """Show a job of submitit's local executor the GPUs that its sweep saw: unless it is told how many, it hides all."""
    if os.environ.get("SUBMITIT_EXECUTOR") == "local" and os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]
        if (visible := os.environ.get(_OF_THE_SHELL, "all")) != "all":
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


@contextmanager
def reserved(count: int | None) -> Iterator[Reserved]:
    """Reserve `count` GPUs, or all if there are fewer, that no other job of any user on this machine has reserved.

    Waits until they are free; a process that inherits the locks keeps them as long as it lives. None reserves none.
    Raises UserError if `FOLDER` is not a folder, OSError if it cannot be written.
    """
    if not count or not (visible := _visible()):
        yield Reserved({}, ())
        return
    umask = os.umask(0)
    try:
        with suppress(FileExistsError):
            FOLDER.mkdir(mode=0o1777)  # sticky, like /tmp: users cannot remove each other's files
        if FOLDER.is_symlink() or not FOLDER.is_dir():
            raise UserError(f"{FOLDER} is not the folder of the GPUs' locks: remove it")
        for name in visible.values():
            with suppress(FileExistsError):
                os.close(os.open(FOLDER / name, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    finally:
        os.umask(umask)
    needed = min(count, len(visible))
    with ExitStack() as locks:
        while True:
            taken: dict[str, int] = {}
            for gpu, name in visible.items():
                # Without O_CREAT, which Linux forbids for other users' files in a sticky folder (`fs.protected_regular`).
                descriptor = os.open(FOLDER / name, os.O_RDONLY | os.O_NOFOLLOW)
                locks.callback(os.close, descriptor)
                if len(taken) < needed and try_lock(descriptor):
                    taken[gpu] = descriptor
            if len(taken) == needed:
                break
            locks.close()  # otherwise two jobs could wait for each other's GPUs forever
            time.sleep(1 + os.getpid() % 10 / 10)
        yield Reserved({"CUDA_VISIBLE_DEVICES": ",".join(taken)}, tuple(taken.values()))


def _visible() -> dict[str, str]:
    """Return the GPUs that CUDA would see, by index, with the names of their locks. Asking PyTorch would take seconds.

    The names are UUIDs if these are known: Slurm jobs and containers each count their GPUs from 0.
    """
    try:
        query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
        listed = subprocess.check_output(query, stderr=subprocess.DEVNULL, text=True)
        gpus = dict([part.strip() for part in line.split(",", 1)] for line in listed.splitlines())
    except (OSError, subprocess.CalledProcessError):
        gpus = {}
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return gpus
    named = [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    return {gpu: gpus.get(gpu, gpu) for gpu in named}
