"""A sweep that is cut off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = (
    "scale=smoke",
    "model.encoder.backbone=test_efficientnet",
    "model.encoder.pretrained=false",
    "pairs.workers=0",
    "steps=2",
    "epoch_steps=1",
)


LAUNCHERS = [
    ("joblib", signal.SIGTERM),
    ("joblib", signal.SIGINT),
    ("submitit_local", signal.SIGTERM),
    ("ray", signal.SIGTERM),
]


def stopped_sweep(
    sweep: Path, jobs: Sequence[str], begun: str, number: signal.Signals, command: Sequence[str], **environment: str
) -> list[Path]:
    """Send a signal to a sweep when all jobs have written the file `begun`; their folders, once it has ended."""
    tmp_path, folders = sweep.parent, [sweep / job for job in jobs]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, f"hydra.sweep.dir={sweep}"],
            cwd=tmp_path,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not all((folder / begun).is_file() for folder in folders):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        # A terminal sends Ctrl-C to all processes of the command, `kill` a signal to one.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        process.wait(120)
    assert process.returncode != 0
    for folder in folders:
        ran = int((folder / ".lock").read_text().split()[1])
        with pytest.raises(ProcessLookupError):
            os.kill(ran, 0)
    return folders


@pytest.mark.parametrize(
    ("launcher", "number"), [LAUNCHERS[0], *(pytest.param(*each, marks=pytest.mark.nightly) for each in LAUNCHERS[1:])]
)
def test_a_training_saves_before_its_sweep_ends(
    launcher: str, number: signal.Signals, tiny_davis: Path, tmp_path: Path
) -> None:
    endless = ("steps=100000", "epoch_steps=100000", "optim.schedule.horizon=100000", "test_at_end=false")
    command = ("adnet.train", "-m", "+experiment=ablation_baseline", f"launcher={launcher}")
    command += ("trainer.accelerator=cpu", f"data.root={tiny_davis}", *TINY[:-2], *endless)
    [folder] = stopped_sweep(tmp_path / "sweep", ["one"], "metrics.csv", number, command)
    assert (folder / "checkpoints" / "last.ckpt").is_file(), (folder / "log.txt").read_text()
    assert "adnet: stopped by SIGTERM after step" in (folder / "log.txt").read_text()


STAND_IN = """
import os, signal, sys, time
[folder] = [word.partition("=")[2].strip("'") for word in sys.orig_argv if word.startswith("hydra.run.dir=")] or [None]

def save(*_):
    time.sleep(0.5)
    open(f"{folder}/saved", "w").close()
    os._exit(1)

if folder:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    signal.signal(signal.SIGTERM, save)
    open(f"{folder}/begun", "w").close()
    time.sleep(300)
"""
"""What Python runs as it starts: a job is then as a training that takes its time to save, if it can be told by what reaches it."""


@pytest.mark.parametrize(("launcher", "number"), LAUNCHERS[1:])
def test_jobs_end_before_their_sweep(launcher: str, number: signal.Signals, tmp_path: Path) -> None:
    """Several, and under the other launchers, that tell a job of any command in the same way."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STAND_IN)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    jobs = ("predictions-a", "predictions-b")
    command = ("adnet.score", "-m", "predictions=a,b", "data.root=nowhere", f"launcher={launcher}")
    for folder in stopped_sweep(tmp_path / "sweep", jobs, "begun", number, command, PYTHONPATH=path):
        assert (folder / "saved").is_file(), (folder / "log.txt").read_text()
