"""A sweep of trainings with two processes a job, cut off and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = (
    "scale=smoke",
    "model.encoder.backbone=resnet10t",
    "model.encoder.multi_grid=null",
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
        *("-m", "+experiment=ablation_baseline", "seed=0,1", "trainer=ddp", "trainer.accelerator=cpu"),
        *("launcher=joblib", f"hydra.sweep.dir={sweep}", f"data.root={tiny_davis}", *TINY),
    )
    ended = run(train.main, *arguments)
    assert ended.code == 0, ended.out + ended.err
    assert "2 finished\n" in ended.out

    names = ["seed-0", "seed-1"]
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == names
    for name in names:
        summary = json.loads((sweep / name / "summary.json").read_text())
        assert (summary["variant"], f"seed-{summary['seed']}", summary["steps"]) == ("baseline", name, 2)
        log = (sweep / name / "log.txt").read_text()
        assert log.count("= 2 devices x 2 x 1 accumulated") == 1  # one rank speaks, once
        assert log.count("2 steps in") == 1
    weights = [
        torch.load(sweep / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for name in names
    ]
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert not list((tmp_path / "cwd").iterdir())

    # One is lost, one more is asked for, with another number of devices.
    shutil.rmtree(sweep / names[1])  # what is left of it couldn't go on with another
    kept = (sweep / names[0] / "summary.json").stat().st_mtime_ns
    again = [argument.replace("trainer=ddp", "trainer.devices=1").replace("joblib", "local") for argument in arguments]
    ended = run(train.main, *again)
    assert ended.code == 0, ended.out + ended.err
    assert "1 finished, 1 skipped (finished before)\n" in ended.out
    assert (sweep / names[0] / "summary.json").stat().st_mtime_ns == kept

    ended = run(report_command.main, f"runs={sweep}", f"output={tmp_path}/report")
    assert ended.code == 0, ended.err
    assert report


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ("joblib", signal.SIGTERM),
        ("joblib", signal.SIGINT),
        ("submitit_local", signal.SIGTERM),
        ("ray", signal.SIGTERM),
    ],
)
def test_jobs_save_before_their_sweep_ends(
    launcher: str, number: signal.Signals, tiny_davis: Path, tmp_path: Path
) -> None:
    sweep = tmp_path / "sweep"
    arguments = (
        *("-m", "+experiment=ablation_baseline", "seed=0,1", "trainer.accelerator=cpu", f"launcher={launcher}"),
        *(f"hydra.sweep.dir={sweep}", f"data.root={tiny_davis}", *TINY[:-2], "steps=100000", "epoch_steps=100000"),
        *("optim.schedule.horizon=100000", "test_at_end=false"),
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "adnet.train", *arguments],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        jobs = [sweep / "seed-0", sweep / "seed-1"]
        deadline = time.monotonic() + 240
        while not all((job / "metrics.csv").is_file() for job in jobs):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        # A terminal sends Ctrl-C to all processes of the command, `kill` a signal to one.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        process.wait(120)
    assert process.returncode != 0
    for job in jobs:
        assert (job / "checkpoints" / "last.ckpt").is_file(), (job / "log.txt").read_text()
        assert "adnet: stopped by SIGTERM after step" in (job / "log.txt").read_text()
        trained = int((job / ".lock").read_text().split()[1])
        with pytest.raises(ProcessLookupError):
            os.kill(trained, 0)
