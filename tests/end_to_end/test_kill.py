"""A training that is killed and started again ends bitwise where it would have ended.

`ADNET_FUZZ=N` kills at 2 N random moments; otherwise it is at 2.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_training import train

KILLS = 2 * int(os.environ.get("ADNET_FUZZ", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 * max(KILLS, 5))]

TIMES = ("train/data_wait", "train/memory_gib", "train/pairs_per_second")
"""Columns of metrics.csv that the clock fills."""


@pytest.fixture(scope="module")
def context() -> Any:
    """Processes that have all imports done and have computed nothing yet, so that they can be forked."""
    context = multiprocessing.get_context("forkserver")
    modules = (
        "adnet.train",
        "adnet.training.checkpoints",
        "adnet.training.monitor",
        "adnet.training.loggers",
        "pytest",
    )
    context.set_forkserver_preload([*modules, "torch._dynamo", "hydra.utils"])
    return context


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from adnet.data.synthetic import synthesize

    return synthesize(tmp_path_factory.mktemp("kill") / "davis", train=2, val=2, frames=4, size=(64, 112))


@pytest.fixture(scope="module")
def whole(context: Any, root: Path) -> tuple[Path, float]:
    """The run that nothing befalls, and how many seconds it takes."""
    folder = root.parent / "runs" / "whole"
    process = start(context, folder, root)
    while process.is_alive() and not folder.with_suffix(".log").is_file():
        time.sleep(0.01)  # all imports come before
    started = time.perf_counter()
    process.join()
    assert process.exitcode == 0, log(folder)
    return folder, time.perf_counter() - started


def start(context: Any, folder: Path, root: Path, death: str | None = None, **environment: str) -> BaseProcess:
    process: BaseProcess = context.Process(target=train, args=(folder, root, death, environment))
    process.start()
    return process


def run(context: Any, folder: Path, root: Path, death: str | None = None) -> int:
    process = start(context, folder, root, death)
    process.join()
    assert process.exitcode == (-signal.SIGKILL if death else 0), log(folder)
    return process.exitcode


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


def log(folder: Path) -> str:
    return folder.with_suffix(".log").read_text()


def load(file: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(file, weights_only=True)
    (scores,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Checkpoints"))
    kept = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "loops")
    return {key: checkpoint[key] for key in kept} | {key: scores[key] for key in ("best_model_score", "current_score")}


def assert_same(value: Any, expected: Any, where: str = "") -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(value, expected), where
    elif isinstance(expected, dict):
        assert value.keys() == expected.keys(), where
        for key in expected:
            assert_same(value[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(value) == len(expected), where
        for one, other in zip(value, expected, strict=True):
            assert_same(one, other, where)
    else:
        assert value == expected, where


def metrics(folder: Path) -> list[dict[str, str]]:
    if not (folder / "metrics.csv").is_file():
        return []
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def assert_same_run(folder: Path, whole: Path) -> None:
    """Weights, optimiser, schedule, best score and metrics, bit for bit."""
    for name in ("last.ckpt", "previous.ckpt", "best.ckpt"):
        assert_same(load(folder / "checkpoints" / name), load(whole / "checkpoints" / name), name)
    assert metrics(folder) == metrics(whole)
    assert names(folder) == {"last.ckpt", "previous.ckpt", "best.ckpt"}


def test_the_run_that_nothing_befalls(whole: tuple[Path, float]) -> None:
    steps = [int(row["step"]) for row in metrics(whole[0]) if row["train/loss"]]
    assert steps == list(range(12))
    assert [int(row["step"]) for row in metrics(whole[0]) if row["val/J"]] == [3, 7, 11]
    checkpoints = [load(whole[0] / "checkpoints" / name)["global_step"] for name in ("previous.ckpt", "last.ckpt")]
    assert checkpoints == [9, 12]


def test_killed_at_random_moments(context: Any, root: Path, whole: tuple[Path, float]) -> None:
    rng = random.Random(0)
    expected, seconds = whole
    number, killed = 0, 0
    while killed < KILLS:
        folder = root.parent / "runs" / f"random-{number}"
        process = start(context, folder, root)
        process.join(timeout=rng.uniform(0.2, 0.9) * seconds)
        if process.is_alive():
            process.kill()
            process.join()
        else:
            assert process.exitcode == 0, log(folder)
        if (folder / "summary.json").is_file():
            assert_same_run(folder, expected)
            number += 1
        else:
            killed += 1
    run(context, folder, root)
    assert_same_run(folder, expected)


def test_killed_while_a_checkpoint_is_written(context: Any, root: Path, whole: tuple[Path, float]) -> None:
    folder = root.parent / "runs" / "writing"
    run(context, folder, root, death="half of it")
    assert names(folder) == {"last.ckpt", "best.ckpt", ".last.ckpt.draft"}
    assert load(folder / "checkpoints" / "last.ckpt")["global_step"] == 3
    run(context, folder, root, death="between two names")
    assert names(folder) == {"previous.ckpt", "best.ckpt", ".last.ckpt.draft"}
    assert load(folder / "checkpoints" / "previous.ckpt")["global_step"] == 6
    assert "previous.ckpt" not in log(folder)
    run(context, folder, root)
    last = folder / "checkpoints" / "last.ckpt"
    assert f"{last} is damaged or missing: resuming from previous.ckpt, the one before" in log(folder)
    assert_same_run(folder, whole[0])


def test_a_signal_saves_before_it_ends_the_run(
    context: Any, root: Path, whole: tuple[Path, float], tmp_path: Path
) -> None:
    folder = root.parent / "runs" / "signals"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    slurm = {"SLURM_ARRAY_JOB_ID": "3", "SLURM_ARRAY_TASK_ID": "7", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for number, then in (
        (signal.SIGTERM, "the same command continues from there"),
        (signal.SIGINT, "the same command continues from there"),
        (signal.SIGUSR1, "Slurm job 3_7 is in the queue again"),
    ):
        before = metrics(folder)
        process = start(context, folder, root, **slurm)
        while process.is_alive() and metrics(folder) == before:
            time.sleep(0.02)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join()
        assert process.exitcode == 128 + number, log(folder)
        assert "Traceback" not in log(folder)
        step = load(folder / "checkpoints" / "last.ckpt")["global_step"]
        line = f"adnet: stopped by {number.name} after step {step}, which is saved; {then}"
        assert log(folder).splitlines()[-1] == line
        assert (tmp_path / "asked").is_file() is (number == signal.SIGUSR1)
    assert (tmp_path / "asked").read_text() == "requeue 3_7\n"
    run(context, folder, root)
    assert_same_run(folder, whole[0])
