from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import hydra
import numpy as np
import pytest
import torch
import yaml
from lightning.fabric.utilities.rank_zero import _get_rank
from lightning.pytorch.utilities import rank_zero_only

from adnet.data import davis2016
from adnet.data.pictures import image_size
from adnet.errors import UserError
from adnet.shared.command import conf_dir, resolved
from adnet.shared.run_folder import finished_summary
from adnet.training.run import Trained, _provenance, explain_out_of_memory, train


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train
    from adnet.data.pairs import TrainingPairs

    get = TrainingPairs.__getitem__

    def killed(self: TrainingPairs, index: int) -> Any:
        if self.start + index == 5:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory runs out
        return get(self, index)

    monkeypatch.setattr(TrainingPairs, "__getitem__", killed)
    arguments = (
        "scale=smoke",
        "model.encoder.pretrained=false",
        "model.encoder.backbone=test_efficientnet",
        "trainer.accelerator=cpu",
        "pairs.workers=1",
        "pairs.batch_size=2",
        "~callbacks.progress",
    )
    ended = run(train.main, *arguments, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    *_, line = ended.err.strip().splitlines()
    assert "DataLoader worker" in line
    assert line.endswith(
        ": if memory ran out, use fewer pairs.workers; the same command continues from the last checkpoint"
    )
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2


@pytest.mark.slow
def test_a_device_that_is_too_small_is_one_line(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train
    from adnet.training import SegmentationModule

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(SegmentationModule, "training_step", full)
    words = ("scale=smoke", "model.encoder.pretrained=false", "model.encoder.backbone=test_efficientnet")
    cpu = ("trainer.accelerator=cpu", "trainer.precision=32", "pairs.workers=0", "~callbacks.progress")
    ended = run(train.main, *words, *cpu, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 1
    assert "\nmemory: 0.0 GiB a step: " in ended.out
    assert "Traceback" not in ended.out + ended.err
    line = ended.err.strip().splitlines()[-1]
    assert line.startswith("adnet: cpu ran out of memory: a step takes about 0.0 GiB: ")
    assert "trainer.precision=bf16-mixed" in line
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["trainer"]["precision"] == "32-true"


def test_flow_that_is_missing_leaves_no_run(run: Callable[..., Any], tiny_davis: Path, tmp_path: Path) -> None:
    from adnet import train

    words = ("scale=smoke", "model=full_motion", "model.encoder.pretrained=false", "trainer.accelerator=cpu")
    flow = ("model.encoder.backbone=test_efficientnet", "flow=folder", f"flow.method.root={tmp_path / 'flow'}")
    ended = run(train.main, *words, *flow, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")
    line = f"adnet: no folder {tmp_path}/flow/train-000 with the optical flow of train-000: set flow.method.root\n"
    assert (ended.code, ended.err) == (1, line)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_resumes_only_with_the_same_flow_files(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train
    from adnet.data.pairs import TrainingPairs

    root = tmp_path / "flow"
    for frame in sorted((tiny_davis / "JPEGImages" / "480p").glob("*/*.jpg")):
        (root / frame.parent.name).mkdir(parents=True, exist_ok=True)
        size = image_size(frame)
        cv2.writeOpticalFlow(str(root / frame.parent.name / f"{frame.stem}.flo"), np.ones((*size, 2), np.float32))
    words = ("scale=smoke", "model=full_motion", "model.encoder.pretrained=false", "trainer.accelerator=cpu")
    more = ("model.encoder.backbone=test_efficientnet", "pairs.workers=0", "~callbacks.progress", "flow=folder")
    folders = ("flow.cache=null", "checkpoint_steps=1", f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")

    def again(root: Path) -> Any:
        return run(train.main, *words, *more, *folders, f"flow.method.root={root}")

    get = TrainingPairs.__getitem__

    def stopped(self: TrainingPairs, index: int) -> Any:
        if self.start:  # in the second epoch
            raise UserError("stopped")
        return get(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingPairs, "__getitem__", stopped)
        assert again(root).err.endswith("adnet: stopped\n")

    moved = Path(shutil.move(root, tmp_path / "moved"))
    file = moved / "train-000" / "00002.flo"
    content = file.read_bytes()
    file.write_bytes(content[:-4] + bytes(4))
    assert again(moved).err == (
        f"adnet: the train data is not what the run in {tmp_path / 'run'} began with (the content of a file): restore it, or "
        "allow_changed_data=true continues anyway\n"
    )
    file.write_bytes(content)
    ended = again(moved)
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(summary["data"]["train"]["flow_sha256"]) == ["train-000", "train-001"]
    assert summary["steps"] == 4


TINY = (
    *(
        "scale=smoke",
        "model.encoder.pretrained=false",
        "model.encoder.backbone=test_efficientnet",
        "trainer.accelerator=cpu",
    ),
    *("pairs.workers=0", "~callbacks.progress", "+trainer.enable_progress_bar=false"),
)
EARLY = "{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val/J,mode:max,stopping_threshold:-1}"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return found


@pytest.fixture(scope="module")
def whole(_tiny_davis: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing cuts short."""
    folder = tmp_path_factory.mktemp("whole")
    words = [*TINY, "callbacks=averaged", "test_at_end=false", f"data.root={_tiny_davis}", f"run_dir={folder}"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", words)
    return weights(train(resolved(cfg), folder).folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "done"),
    [
        ("trainer.max_epochs=1", 2),
        ("+trainer.max_time=00:00:00:00", 0),
        ("trainer.max_steps=3", 3),
        (f"+callbacks.early={EARLY}", 2),
    ],
)
def test_a_run_that_is_cut_short_goes_on(
    run: Callable[..., Any],
    tiny_davis: Path,
    tmp_path: Path,
    whole: dict[str, torch.Tensor],
    limit: str,
    done: int,
) -> None:
    """Without the limit, to the weights of a run that never had one."""
    from adnet import train
    from adnet.report.read import find_runs

    words = (*TINY, "callbacks=averaged", "test_at_end=false", f"data.root={tiny_davis}")
    folder = tmp_path / "runs" / "cut"
    ended = run(train.main, *words, f"hydra.run.dir={folder}", limit)
    assert (ended.code, ended.err) == (0, "")
    *_, line = ended.out.splitlines()
    assert line == (
        f"full: stopped after {done} of 4 steps, by a limit of the trainer or by a callback; the same command without it goes "
        f"on in {folder}"
    )
    assert not (folder / "summary.json").exists()
    with pytest.raises(UserError, match=r"1 folder\(s\) have a config.yaml but no summary.json of all their steps"):
        find_runs([folder.parent])

    ended = run(train.main, *words, f"hydra.run.dir={folder}")
    assert (ended.code, ended.err) == (0, "")
    assert "\nfull: 4 steps in" in ended.out
    assert json.loads((folder / "summary.json").read_text())["steps"] == 4
    went_on = weights(folder)
    assert all(torch.equal(went_on[name], weight) for name, weight in whole.items())


@pytest.mark.slow
@pytest.mark.parametrize("steps", ["true", "3"])
def test_a_dry_run_leaves_nothing(run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, steps: str) -> None:
    from adnet import train

    words = (*TINY, "checkpoint_steps=1", f"data.root={tiny_davis}", "steps=2", f"+trainer.fast_dev_run={steps}")
    ended = run(train.main, *words, f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.err
    assert "trainer.fast_dev_run took" in ended.out.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "cwd").iterdir()) == []


LOSSES = [0.680331, 0.627708, 0.624961, 0.639329, 0.662853, 0.630167, 0.593972, 0.592876, 0.606917, 0.584688]
"""Measured on an AMD EPYC with AVX-512. If a change of numerics is meant, put in the new ones and say in the commit why they differ."""


def test_the_first_ten_losses_are_those_they_were_and_train_returns_the_run(tiny_davis: Path, tmp_path: Path) -> None:
    """Rounding differs between processors, and grows with each step, for AdamW divides gradients by their size.

    Between AVX-512, AVX2 and SSE4.1 (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY), the first four losses differed by up to 5e-5 of their
    value, the others by up to 9e-4. Another loss, pair or network is seen in the first, another optimiser in those that follow.
    """
    words = ("scale=smoke", "model.encoder.pretrained=false", "trainer.accelerator=cpu", "pairs.workers=0")
    length = (
        "steps=10",
        "epoch_steps=10",
        "test_at_end=false",
        "~callbacks.progress",
        "+trainer.enable_progress_bar=false",
    )
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", [*words, *length, f"data.root={tiny_davis}", f"run_dir={tmp_path / 'run'}"])
    made = train(resolved(cfg), tmp_path / "run")
    with (made.folder / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses[:4] == pytest.approx(LOSSES[:4], rel=2e-4)
    assert losses[4:] == pytest.approx(LOSSES[4:], rel=5e-3)
    assert made == Trained(
        tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt", finished_summary(made.folder)
    )
    assert made.summary is not None
    assert (made.summary["steps"], made.summary["variant"]) == (10, "full")
    assert train(resolved(cfg), tmp_path / "run") == made  # finished before


@pytest.mark.slow
def test_the_preset_to_debug_takes_one_batch_in_one_process(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And any other experiment may go before it. A gradient that becomes NaN names the operation of the forward pass."""
    from adnet import train
    from adnet.training import SegmentationModule

    seen: list[int] = []
    honest = SegmentationModule.training_step

    def step(self: SegmentationModule, batch: Any, batch_idx: int) -> torch.Tensor:
        assert self.trainer.train_dataloader.num_workers == 0  # type: ignore[union-attr]
        seen.append(len(batch["mask"]))
        loss = honest(self, batch, batch_idx)
        return loss + (0 * loss).sqrt()  # whose gradient is infinity times 0

    monkeypatch.setattr(SegmentationModule, "training_step", step)
    words = [word for word in TINY if not word.startswith("pairs.workers")]
    with pytest.raises(RuntimeError, match=r"Function 'SqrtBackward0' returned nan|'MulBackward0' returned nan"):
        run(train.main, "+experiment=[ablation_anchor,debug]", *words, f"data.root={tiny_davis}")
    assert seen == [4]
    monkeypatch.setattr(SegmentationModule, "training_step", honest)
    ended = run(train.main, "+experiment=[ablation_anchor,debug]", *words, f"data.root={tiny_davis}")
    assert ended.out.splitlines()[-1] == "anchor: trainer.fast_dev_run took 1 steps, of which nothing is kept"
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
def test_tasks_of_srun_that_share_no_training_are_one_line_each(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet.train import main

    words = (*TINY, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")
    srun = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    for rank in ("0", "1"):
        for name, value in {**srun, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "SLURM_NODEID": "0"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(rank_zero_only, "rank", _get_rank())  # as Lightning does when a process imports it
        code, _, err = run(main, *words)
        (line,) = (line for line in err.splitlines() if "adnet" in line)
        assert line.startswith(
            "adnet: srun or torchrun has started 2 processes, but this training is of 1: add trainer=ddp"
        )
        assert (code, "Traceback" in err) == (1, False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("rank", "reads"), [(0, 32), (1, 0)])
def test_only_rank_0_hashes_the_data(tiny_davis: Path, monkeypatch: pytest.MonkeyPatch, rank: int, reads: int) -> None:
    monkeypatch.setenv("ADNET_CACHE", str(tiny_davis.parent / "cache"))
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    read: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: (read.append(file), read_bytes(file))[1])
    data = SimpleNamespace(train=davis2016(tiny_davis, "train"), val=davis2016(tiny_davis))
    assert (_provenance(data, None) is None) == (rank > 0)  # type: ignore[arg-type]
    assert len(read) == reads


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="ours"), explain_out_of_memory(lambda: "the GPU is small"):
        raise RuntimeError("ours")
    with (
        pytest.raises(UserError, match=r"^a DataLoader worker died: if memory ran out"),
        explain_out_of_memory(lambda: "the GPU is small"),
    ):
        raise ConnectionResetError(104, "Connection reset by peer")
    with (
        pytest.raises(UserError, match=r"DataLoader worker \(pid\(s\) 1, 2\) exited unexpectedly: if"),
        explain_out_of_memory(lambda: "the GPU is small"),
    ):
        raise RuntimeError("DataLoader worker (pid(s) 1, 2) exited unexpectedly")
    with pytest.raises(UserError, match=r"^the GPU is small$"), explain_out_of_memory(lambda: "the GPU is small"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.slow
def test_without_callbacks_nothing_is_saved_where_it_is_started(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adnet import train

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ("scale=smoke", "model.encoder.pretrained=false", "model.encoder.backbone=test_efficientnet", "~callbacks")
    cpu = (
        "logger=none",
        "trainer.accelerator=cpu",
        "pairs.workers=0",
        "test_at_end=false",
        "+trainer.enable_progress_bar=false",
    )
    ended = run(train.main, *words, *cpu, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("option", ["val_check_interval=2", "check_val_every_n_epoch=2"])
def test_a_second_way_to_say_when_to_validate_is_refused(
    run: Callable[..., Any], tiny_davis: Path, tmp_path: Path, option: str
) -> None:
    from adnet import train

    words = (
        "scale=smoke",
        "model.encoder.pretrained=false",
        "model.encoder.backbone=test_efficientnet",
        f"+trainer.{option}",
    )
    ended = run(
        train.main, *words, "trainer.accelerator=cpu", f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}"
    )
    assert ended.code == 1
    assert "adnet: epoch_steps says when to validate" in ended.err
    assert not (tmp_path / "run").exists()
