from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from adnet.errors import UserError
from adnet.training.folder_lock import lock_run_folder


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


def test_ranks_of_one_training_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with lock_run_folder(tmp_path), lock_run_folder(tmp_path):
        pass
