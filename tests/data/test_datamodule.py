from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adnet.data import davis2016
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule
from adnet.data.pairs import TrainingPairs
from adnet.errors import UserError

AUGMENTATION = Augmentation((33, 57))


def module(root: Path, **options: Any) -> PairDataModule:
    given = {"epoch_steps": 2, "batch_size": 4, "val_frames": 2, "workers": 0, "seed": 5} | options
    return PairDataModule(davis2016(root, "train"), davis2016(root, "val"), AUGMENTATION, **given)


def as_trainer(step: int, devices: int, accumulated: int, steps: int = 100) -> Any:
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(
        global_step=step, world_size=devices, accumulate_grad_batches=accumulated, max_steps=steps, strategy=strategy
    )


def names(data: PairDataModule) -> tuple[list[str], list[str]]:
    train, val = ([sequence.name for sequence in dataset.sequences] for dataset in (data.train, data.val))
    return train, val


def test_datasets_are_used_as_given(tiny_davis: Path) -> None:
    assert names(module(tiny_davis)) == (["train-000", "train-001"], ["val-000", "val-001"])


def test_holdout_takes_training_sequences_to_validate_on(tiny_davis: Path) -> None:
    data = module(tiny_davis, holdout=["train-000"])
    assert names(data) == (["train-001"], ["train-000"])
    assert len(data.val_dataloader()) == 2


def test_unknown_holdout_offers_the_nearest(tiny_davis: Path) -> None:
    with pytest.raises(UserError, match=r"no sequence 'train-01' in this split; did you mean 'train-0"):
        module(tiny_davis, holdout=["train-01"])


def test_holdout_of_everything_leaves_nothing_to_train_on(tiny_davis: Path) -> None:
    with pytest.raises(UserError, match="no training sequence is left"):
        module(tiny_davis, holdout=["train-000", "train-001"])


@pytest.mark.parametrize(("step", "world", "accumulated"), [(0, 1, 1), (6, 1, 1), (6, 2, 1), (6, 1, 2), (5, 2, 2)])
def test_an_epoch_goes_on_where_the_step_before_ended(
    tiny_davis: Path, step: int, world: int, accumulated: int
) -> None:
    data = module(tiny_davis)
    data.trainer = as_trainer(step, world, accumulated)
    stream = TrainingPairs(data.train, 100, AUGMENTATION, seed=5)
    loader = data.train_dataloader()
    assert loader.batch_size == 4 // world // accumulated
    assert len(loader) == 2 * world * accumulated  # all ranks together
    frames = torch.cat([batch["frame"] for batch in loader])
    assert torch.equal(frames, torch.stack([stream[4 * step + index]["frame"] for index in range(8)]))


@pytest.mark.parametrize(("step", "steps", "left"), [(4, 5, 1), (0, 1, 1), (5, 6, 2), (4, 6, 2), (4, -1, 2)])
def test_the_last_epoch_ends_with_the_training(tiny_davis: Path, step: int, steps: int, left: int) -> None:
    """Epochs are of 2 steps; at step 5 half of one is done, and Lightning leaves out the last of what it is given."""
    data = module(tiny_davis)
    data.trainer = as_trainer(step, 1, 1, steps)
    assert len(data.train_dataloader()) == left


def test_batch_that_devices_cannot_share(tiny_davis: Path) -> None:
    data = module(tiny_davis)
    data.trainer = as_trainer(0, 3, 1)
    with pytest.raises(UserError, match=r"pairs\.batch_size=4 can't be split over 3 devices: take a multiple of 3"):
        data.train_dataloader()
    data.trainer = as_trainer(0, 2, 4)
    with pytest.raises(UserError, match=r"over 2 devices x 4 accumulated batches: take a multiple of 8"):
        data.train_dataloader()


def test_validation_is_one_pair_a_batch_in_order(tiny_davis: Path) -> None:
    batches = list(module(tiny_davis, workers=1).val_dataloader())
    assert [batch["key"].tolist() for batch in batches] == [[[s, t]] for s in range(2) for t in (1, 2)]
    assert all(batch["frame"].shape == (1, 3, 64, 112) for batch in batches)


@pytest.mark.skipif(sys.platform != "linux", reason="the sender of a signal is not known elsewhere")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
def test_workers_go_on_after_a_signal_to_the_whole_job(tiny_davis: Path, number: signal.Signals) -> None:
    batches = iter(module(tiny_davis, workers=2).val_dataloader())
    taken = [next(batches), next(batches)]  # one of each worker, which has thus begun
    workers = multiprocessing.active_children()
    subprocess.run(["kill", f"-{number.name[3:]}", *(str(worker.pid) for worker in workers)], check=True)
    assert len(workers) == 2
    assert len([*taken, *batches]) == 4


def test_python_ends_with_workers_that_are_left(tiny_davis: Path) -> None:
    code = f"""
import sys
from types import SimpleNamespace

# Of Lightning, which takes seconds to import, only what has no trainer yet.
sys.modules["lightning"] = SimpleNamespace(LightningDataModule=type("Module", (), {{"trainer": None}}))
from pathlib import Path
from adnet.data import davis2016
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule

data = davis2016(Path({str(tiny_davis)!r}), "val")
batches = iter(PairDataModule(data, data, Augmentation((33, 57)), 1, 1, workers=2).val_dataloader())
next(batches)
batches.kept = batches  # as an exception's traceback may keep it
import multiprocessing
assert len(multiprocessing.active_children()) == 2
"""
    quiet = "ignore::UserWarning:torch.utils.data.dataloader"  # on one core, PyTorch advises fewer workers
    ended = subprocess.run(
        [sys.executable, "-W", quiet, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("device", "cpus", "devices", "workers", "pinned"),
    [
        ("cpu", 64, 1, 2, False),
        ("cuda", 8, 1, 7, True),
        ("cuda", 8, 4, 1, True),
        ("cuda", 1, 1, 1, True),
        ("cuda", 96, 2, 16, True),
    ],
)
def test_loaders_suit_the_device(
    tiny_davis: Path, monkeypatch: pytest.MonkeyPatch, device: str, cpus: int, devices: int, workers: int, pinned: bool
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cpus)), raising=False)
    monkeypatch.setattr("torch.utils.data.dataloader.DataLoader.check_worker_number_rationality", lambda _: None)
    for options, expected in (
        ({"workers": None}, (workers, pinned)),
        ({"workers": 3, "pin_memory": False}, (3, False)),
    ):
        data = module(tiny_davis, **options)
        data.trainer = as_trainer(0, 1, 1)
        data.trainer.num_devices = devices
        data.trainer.strategy = SimpleNamespace(root_device=torch.device(device))
        loader = data.train_dataloader()
        assert (loader.num_workers, loader.pin_memory) == expected
        assert data.val_dataloader().num_workers == expected[0]
