"""A sweep of trainings with two processes a job, cut off and gone on with."""

from __future__ import annotations

import json
import shutil
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
