"""A sweep of trainings with two processes a job, cut off and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = (
    "scale=smoke",
    "model.encoder.backbone=test_efficientnet",
    "model.encoder.pretrained=false",
    "pairs.workers=0",
    "steps=2",
    "epoch_steps=1",
)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_seeds_and_device_counts(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet import report, train
    from adnet.report import __main__ as report_command

    sweep = tmp_path / "sweep"
    arguments = (
        *("-m", "+experiment=ablation_baseline", "seed=0,1", "trainer.accelerator=cpu", "launcher=joblib"),
        *(f"hydra.sweep.dir={sweep}", f"data.root={tiny_davis}", *TINY),
    )
    ended = run(train.main, *arguments)
    assert ended.code == 0, ended.out + ended.err
    assert "2 finished\n" in ended.out

    names = ["seed-0", "seed-1"]
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == names
    for name in names:
        summary = json.loads((sweep / name / "summary.json").read_text())
        assert (summary["variant"], f"seed-{summary['seed']}", summary["steps"]) == ("baseline", name, 2)
    weights = [
        torch.load(sweep / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for name in names
    ]
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not list((tmp_path / "cwd").iterdir())

    # One is lost, and asked for again with another number of devices.
    shutil.rmtree(sweep / names[1])  # what is left of it couldn't go on with another
    kept = (sweep / names[0] / "summary.json").stat().st_mtime_ns
    ended = run(train.main, *arguments, "trainer=ddp")
    assert ended.code == 0, ended.out + ended.err
    assert "1 finished, 1 skipped (finished before)\n" in ended.out
    assert (sweep / names[0] / "summary.json").stat().st_mtime_ns == kept
    log = (sweep / names[1] / "log.txt").read_text()
    assert log.count("= 2 devices x 2 x 1 accumulated") == 1  # one rank speaks, once
    assert log.count("2 steps in") == 1
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == names
    assert not list((tmp_path / "cwd").iterdir())

    ended = run(report_command.main, f"runs={sweep}", f"output={tmp_path}/report")
    assert ended.code == 0, ended.err
    assert report


LAUNCHERS = [
    ("joblib", signal.SIGTERM),
    ("joblib", signal.SIGINT),
    ("submitit_local", signal.SIGTERM),
    ("ray", signal.SIGTERM),
]


def stopped_sweep(
    sweep: Path, jobs: Sequence[str], begun: str, number: signal.Signals, command: Sequence[str], **environment: str
) -> list[Path]:
    """Send a signal to a sweep when both jobs have written the file `begun`; their folders, once it has ended."""
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
def test_jobs_save_before_their_sweep_ends(
    launcher: str, number: signal.Signals, tiny_davis: Path, tmp_path: Path
) -> None:
    endless = ("steps=100000", "epoch_steps=100000", "optim.schedule.horizon=100000", "test_at_end=false")
    command = ("adnet.train", "-m", "+experiment=ablation_baseline", "seed=0,1", f"launcher={launcher}")
    command += ("trainer.accelerator=cpu", f"data.root={tiny_davis}", *TINY[:-2], *endless)
    for folder in stopped_sweep(tmp_path / "sweep", ("seed-0", "seed-1"), "metrics.csv", number, command):
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
    """Under the other launchers, that tell a job of any command in the same way."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STAND_IN)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    jobs = ("predictions-a", "predictions-b")
    command = ("adnet.score", "-m", "predictions=a,b", "data.root=nowhere", f"launcher={launcher}")
    for folder in stopped_sweep(tmp_path / "sweep", jobs, "begun", number, command, PYTHONPATH=path):
        assert (folder / "saved").is_file(), (folder / "log.txt").read_text()
