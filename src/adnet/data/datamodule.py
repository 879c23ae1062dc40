"""Loaders of training and validation pairs, for a Trainer."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Thread

import cv2
import lightning as L
from pydantic import NonNegativeInt, PositiveInt
from torch.utils.data import DataLoader

from adnet.data.augmentation import Augmentation, FlowAugmentation
from adnet.data.flow import SequenceFlow
from adnet.data.mixed import Source, mixed
from adnet.data.pairs import Anchor, TrainingPair, TrainingPairs, ValidationPair, ValidationPairs
from adnet.data.videos import VideoDataset, report_odd_masks, select
from adnet.errors import UserError
from adnet.shared.machine import available_cpus
from adnet.shared.value_types import Proportion


class PairDataModule(L.LightningDataModule):
    """Training pairs of `train` and validation pairs of `val`.

    Args:
        train, val: the datasets that pairs are drawn from; with `holdout`, `val` is not used.
        augmentation: of training frames.
        epoch_steps: optimiser steps between two validations; each epoch continues where the previous one ended.
        batch_size: pairs per optimiser step, over all devices and accumulated batches together.
        anchor: `"first"` or `"random"`.
        holdout: training sequences set aside to validate on, for choosing settings without looking at `val`.
        val_frames: frames per sequence to validate on.
        workers: loader processes per device; None: two, or on a GPU its share of the CPUs less one, up to 16.
        seed: see `TrainingPairs`.
        flow: computes the frames' optical flow, for a network that needs it.
        flow_augmentation: of the flow of training frames; None: it stays as it is.
        mix: further sources of training pairs by name, see `adnet.data.mixed`; `holdout` and `val` concern `train` only.
        pin_memory: when training on a GPU, keep batches in page-locked memory, which it can copy from without the CPU.
        paste: see `TrainingPairs`.

    Raises UserError for an unknown sequence in `holdout`, and if no training sequence is left.
    """

    def __init__(
        self,
        train: VideoDataset,
        val: VideoDataset,
        augmentation: Augmentation,
        epoch_steps: PositiveInt,
        batch_size: PositiveInt,
        anchor: Anchor = "first",
        holdout: Sequence[str] = (),
        val_frames: PositiveInt = 4,
        workers: NonNegativeInt | None = None,
        seed: int = 0,
        flow: SequenceFlow | None = None,
        flow_augmentation: FlowAugmentation | None = None,
        mix: Mapping[str, Source] | None = None,
        pin_memory: bool = True,
        paste: Proportion = 0.0,
    ) -> None:
        super().__init__()
        if holdout:
            held = select([sequence.name for sequence in train.sequences], holdout)
            if len(held) == len(train.sequences):
                raise UserError(f"no training sequence is left in {train.name}: shorten pairs.holdout")
            val = replace(train, sequences=tuple(s for s in train.sequences if s.name in held))
            train = replace(train, sequences=tuple(s for s in train.sequences if s.name not in held))
        self.train = train = mixed(train, mix or {})
        self.val = val
        self.batch_size = batch_size
        self._workers = workers
        self._pin_memory = pin_memory
        self.epoch_steps = epoch_steps
        self.flow = flow
        flows = partial(TrainingPairs, flow=flow, flow_augmentation=flow_augmentation, paste=paste)
        self.training_pairs = partial(flows, train, augmentation=augmentation, seed=seed, anchor=anchor)
        self.validation_pairs = ValidationPairs(val, val_frames, flow)

    @property
    def on_gpu(self) -> bool:
        """Whether the trainer trains on a GPU."""
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    @property
    def workers(self) -> int:
        """Loader processes per device; on a CPU they take time from the training itself."""
        if self._workers is not None:
            return self._workers
        if not self.on_gpu or self.trainer is None:
            return 2
        return min(max(available_cpus() // self.trainer.num_devices - 1, 1), 16)

    def prepare_data(self) -> None:
        """Look at the masks, and compute the pairs' flow that is not cached yet, in one process per machine."""
        for dataset in (self.train, self.val):
            report_odd_masks(dataset)
        if self.flow is not None:
            self.flow.fill([*self.train.sequences, *self.val.sequences], self.workers, annotated=True)

    def device_batch_size(self, devices: int, accumulated: int) -> int:
        """Return the pairs per device and forward pass. Raises UserError if the batch can't be split evenly."""
        if self.batch_size % (devices * accumulated):
            by = f"{devices} devices" + (f" x {accumulated} accumulated batches" if accumulated > 1 else "")
            advice = f"take a multiple of {devices * accumulated}"
            raise UserError(f"pairs.batch_size={self.batch_size} can't be split over {by}: {advice}")
        return self.batch_size // (devices * accumulated)

    def train_dataloader(self) -> DataLoader[TrainingPair]:
        """Load an epoch of pairs from the current step on, in order, for a distributed sampler to deal out in turn.

        Each epoch needs a new loader (`reload_dataloaders_every_n_epochs=1`). The last ends with the training, and is validated,
        too. If a run resumes in the middle of an epoch, Lightning stops before the last of the pairs.
        """
        step, size, steps = 0, self.batch_size, self.epoch_steps
        if trainer := self.trainer:
            step = trainer.global_step
            size = self.device_batch_size(trainer.world_size, trainer.accumulate_grad_batches)
            if trainer.max_steps > 0:
                steps = min(steps, trainer.max_steps - step + step % steps)
        pairs = self.training_pairs(start=step * self.batch_size, length=steps * self.batch_size)
        # Persistent workers would be useless: each epoch has its own pairs, and so its own loader.
        pin = self._pin_memory and self.on_gpu
        return DataLoader(pairs, size, num_workers=self.workers, worker_init_fn=_quiet_worker, pin_memory=pin)

    def val_dataloader(self) -> DataLoader[ValidationPair]:
        """Load the validation pairs one at a time: the frames of a dataset may differ in size."""
        return DataLoader(self.validation_pairs, 1, num_workers=self.workers, worker_init_fn=_quiet_worker)


def _quiet_worker(_: int) -> None:
    # OpenCV's own threads would compete with the other workers for the same cores.
    cv2.setNumThreads(0)
    # Slurm and Ctrl-C signal every process of a job, but the main process still needs batches.
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        Thread(target=_exit_when_the_main_process_says, daemon=True).start()


def _exit_when_the_main_process_says() -> None:
    # At exit, Python sends SIGTERM to the remaining workers and waits for them: one that ignored it would hang the process.
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
