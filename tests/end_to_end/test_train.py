"""The commands of a researcher's day, at the scale that ends in seconds."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killed_training import ARGUMENTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TINY = ("scale=smoke", "model.encoder.pretrained=false", "trainer.accelerator=cpu", "pairs.workers=1")
TINY += ("model.encoder.backbone=test_efficientnet",)


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def check_run(folder: Path, root: Path) -> dict[str, Any]:
    """The run folder is complete on its own; its summary."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["data"]["root"] == str(root)
    assert "${" not in (folder / "config.yaml").read_text()
    for name in ("last.ckpt", "best.ckpt"):
        assert (
            torch.load(folder / "checkpoints" / name, weights_only=True)["hyper_parameters"]["model"]["variant"]
            == "full"
        )
    summary: dict[str, Any] = load(folder / "summary.json")
    assert {"J", "F", "initial", "seconds", "git_commit", "parameters", "data"} <= set(summary)
    assert (summary["variant"], summary["seed"], summary["steps"], summary["dataset"]) == ("full", 0, 4, "davis2016")
    assert {"adnet", "torch", "lightning", "timm"} <= set(summary["versions"])
    assert summary["data"]["val"]["sequences"] == ["val-000", "val-001"]
    evaluation = folder / "evaluation" / "davis2016-val-single_scale"
    assert len(list((evaluation / "masks").rglob("*.png"))) == 8
    mean = load(evaluation / "scores.json")["mean"]
    assert (summary["J"], summary["F"]) == (mean["J"]["mean"], mean["F"]["mean"])
    assert 0 <= summary["J"] <= 1
    table = rows(folder)
    assert {"epoch", "step", "train/loss", "train/lr", "val/J"} <= set(table[0])
    assert sum(bool(row["train/loss"]) for row in table) == 4
    assert sum(bool(row["val/J"]) for row in table) == 2
    return summary


def test_train_then_evaluate(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet import evaluate, train

    folder = tmp_path / "run"
    ended = run(train.main, *TINY, f"data.root={tiny_davis}", f"hydra.run.dir={folder}", "test_at_start=true")
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    summary = check_run(folder, tiny_davis)
    assert set(summary["initial"]) == {"J", "F"}
    assert str(folder) in ended.out

    arguments = (
        f"checkpoint={folder}/checkpoints/last.ckpt",
        f"data.root={tiny_davis}",
        "protocol=single_scale",
        "device=cpu",
    )
    ended = run(evaluate.main, *arguments)
    assert ended.code == 0, ended.err
    again = folder / "evaluation" / "last-davis2016-val-single_scale"
    assert (
        load(again / "scores.json")["mean"]
        == load(folder / "evaluation" / "davis2016-val-single_scale" / "scores.json")["mean"]
    )
    assert load(again / "evaluation.json")["checkpoint"] == f"{folder}/checkpoints/last.ckpt"

    # A finished run is not trained over, and a checkpoint that was cut off is named.
    before = (folder / "summary.json").read_bytes()
    ended = run(train.main, *TINY, f"data.root={tiny_davis}", f"hydra.run.dir={folder}")
    assert (ended.code, ended.err) == (
        1,
        f"adnet: {folder} holds a finished run of another config: test_at_start was True and is False; give another "
        "hydra.run.dir, or these values\n",
    )
    ended = run(train.main, *TINY, f"data.root={tiny_davis}", f"hydra.run.dir={folder}", "test_at_start=true")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("full: finished before, 4 steps\n")
    assert f"run folder: {folder} (to train again, remove it" in ended.out
    assert (folder / "summary.json").read_bytes() == before
    torn = folder / "checkpoints" / "torn.ckpt"
    torn.write_bytes((folder / "checkpoints" / "last.ckpt").read_bytes()[:1000])
    ended = run(evaluate.main, f"checkpoint={torn}", f"data.root={tiny_davis}")
    assert ended.code == 1
    assert ended.err.startswith(f"adnet: {torn} is not a readable adnet checkpoint")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("steps", "epoch_steps", "validated"), [(3, 2, [1, 2]), (2, 5, [1])])
def test_the_end_of_a_fit_is_validated(
    tiny_davis: Path, tmp_path: Path, run: Callable[..., Any], steps: int, epoch_steps: int, validated: list[int]
) -> None:
    """Also where the last epoch is a shorter one, and where it is the only one."""
    from adnet import train

    given = (*TINY, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path}", "test_at_end=false", "pairs.workers=0")
    ended = run(train.main, *given, f"steps={steps}", f"epoch_steps={epoch_steps}")
    assert ended.code == 0, ended.err
    assert [int(row["step"]) for row in rows(tmp_path) if row["val/J"]] == validated
    assert load(tmp_path / "summary.json")["steps"] == steps
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["global_step"] in [step + 1 for step in validated]


def test_a_run_that_slurm_preempts_goes_on_with_the_same_command(
    tiny_davis: Path, tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To its end, in the folder that the command line gives."""
    from adnet import train
    from adnet.training import SegmentationModule

    (tmp_path / "scontrol").write_text("#!/bin/sh\n")
    (tmp_path / "scontrol").chmod(0o755)
    steps = ("steps=6", "epoch_steps=3", "checkpoint_steps=1", "optim.schedule.horizon=6", "pairs.workers=0")
    command = (*ARGUMENTS, *steps, f"data.root={tiny_davis}")
    step = SegmentationModule.training_step

    def preempted(self: SegmentationModule, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", preempted)
        for name, value in {"SLURM_ARRAY_JOB_ID": "3", "SLURM_ARRAY_TASK_ID": "7"}.items():
            patch.setenv(name, value)
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        ended = run(train.main, *command)
    assert ended.code == 128 + signal.SIGUSR1
    assert "Slurm job 3_7 is in the queue again" in ended.err
    (folder,) = Path("runs").iterdir()
    assert not (folder / "summary.json").exists()

    for said in ("full: 6 steps in", "full: finished before, 6 steps"):
        ended = run(train.main, *command)
        assert (ended.code, said in ended.out) == (0, True), ended.err
    assert load(folder / "summary.json")["steps"] == 6
    assert list(Path("runs").iterdir()) == [folder]


def test_a_run_begins_with_another_s_weights_once(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet import train
    from adnet.inference import load_checkpoint

    given = (
        *(*TINY, f"data.root={tiny_davis}"),
        *("optim.schedule.horizon=2", "+trainer.limit_val_batches=0", "pairs.workers=0"),
    )
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(train.main, *given, "steps=1", f"hydra.run.dir={first}", "trainer.precision=bf16").code == 0
    evaluation = first / "evaluation" / "davis2016-val-single_scale" / "evaluation.json"
    assert load(evaluation)["precision"] == "bf16"  # as it was trained
    given = (*given, "test_at_end=false")
    file = first / "checkpoints" / "last.ckpt"
    again = (*given, "optim.optimizer.lr=0", "steps=1", f"model.weights={file}", f"hydra.run.dir={second}")
    ended = run(train.main, *again)
    assert ended.code == 0, ended.err
    assert f"weights of {file}: " in ended.out
    weights = [load_checkpoint(folder / "checkpoints" / "last.ckpt")[0].head[0].weight for folder in (first, second)]  # type: ignore[index]
    assert torch.equal(*weights)

    file.unlink()  # what goes on needs it no more
    (second / "summary.json").unlink()
    ended = run(train.main, *again, "steps=2")
    assert ended.code == 0, ended.err
    assert "weights of" not in ended.out


def test_more_steps_than_the_schedule_has_are_refused(tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet import train

    ended = run(train.main, "steps=60000", f"hydra.run.dir={tmp_path}", f"data.root={tmp_path}")
    assert ended.code == 1
    assert ended.err.startswith(
        "adnet: steps=60000: the learning rate is 0 from step optim.schedule.horizon=40000 on; raise the horizon"
    )
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("callbacks", "model"), [("default", "full"), ("averaged", "full_motion")])
def test_resumed_run_is_bitwise_the_uninterrupted_one(
    tiny_davis: Path, tmp_path: Path, run: Callable[..., Any], callbacks: str, model: str
) -> None:
    """Also with motion, whose flow is read from the cache the second time and spoilt at random."""
    from adnet import train

    network = (f"model={model}", f"flow.cache={tmp_path / 'flow'}")

    def fit(name: str, *arguments: str) -> dict[str, torch.Tensor]:
        given = (
            *TINY,
            f"data.root={tiny_davis}",
            "optim.schedule.horizon=4",
            f"hydra.run.dir={tmp_path / name}",
            "test_at_end=false",
            f"callbacks={callbacks}",
            *network,
            *arguments,
        )
        ended = run(train.main, *given)
        assert ended.code == 0, ended.err
        checkpoint = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        unaveraged = checkpoint.get("current_model_state", {})
        assert bool(unaveraged) is (callbacks == "averaged")
        return checkpoint["state_dict"] | {f"unaveraged {key}": value for key, value in unaveraged.items()}

    whole = fit("whole")
    half = fit("cut", "steps=2")
    (tmp_path / "cut" / "summary.json").unlink()  # as if it had been killed

    given = (
        *TINY,
        f"data.root={tiny_davis}",
        "optim.schedule.horizon=4",
        f"callbacks={callbacks}",
        *network,
        f"hydra.run.dir={tmp_path / 'cut'}",
    )
    ended = run(train.main, *given, "resume=false")
    assert ended.code == 1
    assert "holds an interrupted run; resume=true continues it" in ended.err
    ended = run(train.main, *given, "seed=1", "optim.optimizer.lr=0.1")
    assert ended.code == 1
    assert ended.err.startswith(f"adnet: {tmp_path / 'cut'} holds a run of another config: ")
    assert ended.err.endswith("; give another hydra.run.dir, or these values\n")
    for different in ("seed was 0 and is 1", "optim.optimizer.lr was 0.0002 and is 0.1", "pairs.seed was 0 and is 1"):
        assert different in ended.err

    frame = next((tiny_davis / "JPEGImages" / "480p" / "train-001").iterdir())
    image = frame.read_bytes()
    frame.write_bytes(image + b"1")
    ended = run(train.main, *given)
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        f"adnet: the train data is not what the run in {tmp_path / 'cut'} began with (the content of a file): restore it, or "
        "allow_changed_data=true continues anyway"
    )
    frame.write_bytes(image)

    resumed = fit("cut")
    assert load(tmp_path / "cut" / "summary.json")["steps"] == 4
    assert any(not torch.equal(half[name], whole[name]) for name in whole)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    columns = ("epoch", "step", "train/loss", "train/lr", "val/J")
    tables = [[[row[column] for column in columns] for row in rows(tmp_path / name)] for name in ("whole", "cut")]
    assert tables[0] == tables[1]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
def test_two_processes(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    """As a job of a sweep, which skips the seed that was trained on one device."""
    from adnet import evaluate, train
    from adnet.report import __main__ as report

    sweep, given = tmp_path / "sweep", (*TINY, f"data.root={tiny_davis}")
    one, two = sweep / "seed-1", sweep / "seed-0"
    ended = run(train.main, *given, "seed=1", f"hydra.run.dir={one}")
    assert ended.code == 0, ended.err
    # As its job leaves it, with Hydra's spelling.
    overrides = [word.replace("=false", "=False") for word in (*given, "seed=1")]
    outcome = {"overrides": overrides, "command": [], "log": "log.txt", "status": "finished", "seconds": 1}
    (one / "job.json").write_text(json.dumps(outcome | {"code": 0, "reason": None}))
    kept = (one / "summary.json").stat().st_mtime_ns
    ended = run(train.main, "-m", *given, "seed=0,1", "trainer=ddp", "launcher=joblib", f"hydra.sweep.dir={sweep}")
    assert ended.code == 0, ended.out + ended.err
    assert "1 finished, 1 skipped (finished before)\n" in ended.out
    assert sorted(path.name for path in sweep.iterdir() if path.is_dir()) == ["seed-0", "seed-1"]
    assert (one / "summary.json").stat().st_mtime_ns == kept
    assert load(one / "summary.json")["seed"] == 1
    check_run(two, tiny_davis)
    log = (two / "log.txt").read_text()
    assert "Traceback" not in log
    assert len(log.splitlines()) < 40  # it has what its reader wants to know
    assert log.count("= 2 devices x 2 x 1 accumulated") == 1  # one rank speaks, once
    assert log.count("4 steps in") == 1
    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (one, two)
    ]
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())

    evaluation = two / "evaluation" / "davis2016-val-single_scale"
    assert load(evaluation / "evaluation.json")["frames"] == 4  # of 8: each evaluated a sequence
    checkpoint = two / "checkpoints" / "last.ckpt"
    alone = (f"checkpoint={checkpoint}", "protocol=single_scale", f"data.root={tiny_davis}", "device=cpu")
    ended = run(evaluate.main, *alone, f"output={tmp_path / 'alone'}")
    assert ended.code == 0, ended.err
    masks = sorted((tmp_path / "alone" / "masks").rglob("*.png"))
    assert len(masks) == 8
    for mask in masks:
        assert (evaluation / mask.relative_to(tmp_path / "alone")).read_bytes() == mask.read_bytes()
    assert not list((tmp_path / "cwd").iterdir())
    checkpoints = sorted(path.name for path in (two / "checkpoints").iterdir())
    assert checkpoints == ["best.ckpt", "last.ckpt", "previous.ckpt"]

    ended = run(report.main, f"runs={sweep}", f"output={tmp_path}/report")
    assert ended.code == 0, ended.err
    assert "full seed 0: " in ended.out
    assert "full seed 1: " in ended.out
