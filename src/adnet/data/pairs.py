"""Pairs of an anchor and a frame (Section 4, Training), reproducible whatever the number of workers and ranks."""

from __future__ import annotations

from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adnet.data.augmentation import Augmentation
from adnet.data.sequence import Frame, VideoDataset, read_frame, read_mask

Anchor = Literal["first", "random"]


class TrainingPair(TypedDict):
    """`anchor` and `frame`: uint8 `[3, H, W]` RGB; `mask`: bool `[H, W]`, the annotation of `frame`."""

    anchor: Tensor
    frame: Tensor
    mask: Tensor


class ValidationPair(TrainingPair):
    """A pair with `key`, int64 `[2]`: index of the sequence and of the frame in it."""

    key: Tensor


class TrainingPairs(Dataset[TrainingPair]):
    """`length` random pairs from the `start`-th on: a video, its anchor, and a random other frame of it.

    Pair i of the endless stream is a function of (`seed`, i) alone, so neither workers nor ranks change what is drawn, and a
    run that is resumed goes on with the pairs that it would have seen. `anchor="first"` takes the first frame, `"random"`
    any (the paper tried both and found the first slightly better).
    """

    def __init__(
        self,
        dataset: VideoDataset,
        length: int,
        augmentation: Augmentation,
        seed: int,
        anchor: Anchor = "first",
        start: int = 0,
    ) -> None:
        self.dataset = dataset
        self.length = length
        self.start = start
        self.augmentation = augmentation
        self.seed = seed
        self.anchor = anchor

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> TrainingPair:
        rng = np.random.default_rng([self.seed, self.start + index])
        sequence = self.dataset.sequences[rng.integers(len(self.dataset.sequences))]
        anchor = 0 if self.anchor == "first" else int(rng.integers(len(sequence.frames)))
        frame = int(rng.integers(len(sequence.frames) - 1))
        frame += frame >= anchor
        images = [sequence.frames[i] for i in (anchor, frame)]
        (anchor_image, _), (image, mask) = (
            self.augmentation(read_frame(path), sequence.annotation(path), rng) for path in images
        )
        return {"anchor": to_tensor(anchor_image), "frame": to_tensor(image), "mask": torch.from_numpy(mask)}


class ValidationPairs(Dataset[ValidationPair]):
    """The first frame of each sequence with up to `frames` others, evenly spaced; nothing is augmented."""

    def __init__(self, dataset: VideoDataset, frames: int) -> None:
        self.dataset = dataset
        self.pairs = [
            (s, int(t))
            for s, sequence in enumerate(dataset.sequences)
            for t in np.unique(np.linspace(0, len(sequence.frames) - 1, frames + 2).round()[1:-1].clip(1))
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> ValidationPair:
        s, t = self.pairs[index]
        sequence = self.dataset.sequences[s]
        frame = sequence.frames[t]
        return {
            "anchor": to_tensor(read_frame(sequence.frames[0])),
            "frame": to_tensor(read_frame(frame)),
            "mask": torch.from_numpy(read_mask(sequence.annotations[frame.stem])),
            "key": torch.tensor([s, t]),
        }


def to_tensor(frame: Frame) -> Tensor:
    """Image uint8 `[H, W, 3]` -> uint8 `[3, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
