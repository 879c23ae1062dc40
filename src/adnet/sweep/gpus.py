"""GPUs of this machine, shared out between the jobs on it."""

from __future__ import annotations

import fcntl
import getpass
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def reserved(count: int | None) -> Iterator[dict[str, str]]:
    """Hold `count` GPUs that no other job on this machine holds; the environment that shows only them.

    Waits until so many are free. Nothing is held, and the environment is left as it is, where `count` is None or there are
    no GPUs; more than there are is all of them.
    """
    there = _visible() if count else []
    if not count or not there:
        yield {}
        return
    folder = Path(tempfile.gettempdir()) / f"adnet-gpus-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    with ExitStack() as held:
        while True:
            mine: list[str] = []
            for gpu in there:
                if len(mine) < min(count, len(there)) and _lock(folder / gpu, held):
                    mine.append(gpu)
            if len(mine) == min(count, len(there)):
                break
            held.close()  # two jobs that each wait for the other's would wait for ever
            time.sleep(1 + os.getpid() % 10 / 10)
        yield {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


def _lock(path: Path, held: ExitStack) -> bool:
    file = held.enter_context(path.open("a"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _visible() -> list[str]:
    """As CUDA would see them, without the seconds that asking torch takes."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
    except OSError:
        return []
    return listed.stdout.split() if listed.returncode == 0 else []
