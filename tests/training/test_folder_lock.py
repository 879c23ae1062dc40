from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from adnet.errors import UserError
from adnet.training.folder_lock import held

HOLD = """
import os, sys, time
from pathlib import Path
from adnet.training.folder_lock import held
with held(Path(sys.argv[1])):
    loader_worker = os.fork()
    if loader_worker:
        print(loader_worker, flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_told_who_has_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the first is gone, by SIGKILL at the worst, whatever it has forked."""
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # whichever a trainer of another test has left
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    worker = int(other.stdout.readline())
    try:
        with pytest.raises(UserError) as error, held(tmp_path):
            pass
        assert str(error.value) == (
            f"{tmp_path} is in use by another training (process {other.pid} on {socket.gethostname()}): wait for it or stop it, "
            "or give another hydra.run.dir"
        )
        other.kill()
        other.wait()
        with held(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []
    finally:
        other.kill()
        os.kill(worker, signal.SIGKILL)


def test_ranks_of_one_training_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with held(tmp_path), held(tmp_path):
        pass
