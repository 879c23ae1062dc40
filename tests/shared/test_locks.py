from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from adnet.errors import UserError
from adnet.shared.locks import lock_run_folder, one_at_a_time, try_lock


def hold(folder: Path, said: Connection) -> None:
    """Have a folder until killed, as a process that has forked another, of which it says the id."""
    with lock_run_folder(folder):
        loader_worker = os.fork()
        if loader_worker:
            said.send(loader_worker)
        time.sleep(600)


def test_a_second_training_is_told_who_has_the_folder(tmp_path: Path) -> None:
    """Until the first is gone, by SIGKILL at the worst, whatever it has forked."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    other = context.Process(target=hold, args=(tmp_path, theirs))
    other.start()
    worker = ours.recv()
    try:
        with pytest.raises(UserError) as error, lock_run_folder(tmp_path):
            pass
        assert str(error.value) == (
            f"{tmp_path} is in use by another training (process {other.pid} on {socket.gethostname()}): wait for it or stop it, "
            "or give another hydra.run.dir"
        )
        other.kill()
        other.join()
        with lock_run_folder(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
    finally:
        other.kill()
        os.kill(worker, signal.SIGKILL)


def test_what_is_made_once_is_waited_for(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def make() -> None:
        with one_at_a_time(tmp_path / "folder" / ".lock"):
            theirs.send("begun")
            time.sleep(0.5)
            (tmp_path / "made").touch()

    other = context.Process(target=make)
    other.start()
    ours.recv()
    with one_at_a_time(tmp_path / "folder" / ".lock"):
        assert (tmp_path / "made").exists()
    other.join()


def test_a_lock_is_shared_with_shared_ones_alone(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert try_lock(first, shared=True)
    assert try_lock(second, shared=True)
    assert not try_lock(second)
    os.close(first)
    assert try_lock(second)
    os.close(second)
