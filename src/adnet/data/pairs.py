"""Pairs of an anchor and a frame (Section 4, Training), reproducible whatever the number of workers and ranks."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adnet.data.augmentation import Augmentation
from adnet.data.sequence import Frame, Mask, Sequence, VideoDataset, image_size, read_frame
from adnet.errors import UserError

Anchor = Literal["first", "random"]


class TrainingPair(TypedDict):
    """`anchor` and `frame`: uint8 `[3, H, W]` RGB; `mask`: bool `[H, W]`, the annotation of `frame`.

    `key`: int64 `[3]`, the index of the sequence and, in it, of the anchor and of the frame.
    """

    anchor: Tensor
    frame: Tensor
    mask: Tensor
    key: Tensor


class ValidationPair(TrainingPair):
    """A pair whose `key`, int64 `[2]`, leaves out the anchor."""


class TrainingPairs(Dataset[TrainingPair]):
    """`length` random pairs from the `start`-th on: a video, its anchor, and a random other frame of it.

    Pair i of the endless stream is a function of (`seed`, i) alone, so neither workers nor ranks change what is drawn, and a
    run that is resumed goes on with the pairs that it would have seen. `anchor="first"` takes the first frame, `"random"`
    any (the paper tried both and found the first slightly better). Both are frames that have an annotation: the anchor, too,
    is cropped around its foreground. Raises UserError if a sequence has fewer than two.
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
        for sequence in dataset.sequences:
            if len(sequence.annotated) < 2:
                raise UserError(
                    f"sequence {sequence.name} of {dataset.name} {dataset.split} has fewer than two annotated frames, which a "
                    "training pair takes: leave it out of data.sequences"
                )
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
        s = int(rng.integers(len(self.dataset.sequences)))
        sequence = self.dataset.sequences[s]
        annotated = sequence.annotated
        anchor = 0 if self.anchor == "first" else int(rng.integers(len(annotated)))
        frame = int(rng.integers(len(annotated) - 1))
        frame += frame >= anchor
        anchor, frame = annotated[anchor], annotated[frame]
        (anchor_image, _), (image, mask) = (self._augmented(sequence, i, rng) for i in (anchor, frame))
        return {
            "anchor": to_tensor(anchor_image),
            "frame": to_tensor(image),
            "mask": torch.from_numpy(mask),
            "key": torch.tensor([s, anchor, frame]),
        }

    def _augmented(self, sequence: Sequence, index: int, rng: np.random.Generator) -> tuple[Frame, Mask]:
        path = sequence.frames[index]
        mask = sequence.annotation(path)
        if (size := image_size(path)) != mask.shape:
            annotation = sequence.annotations[path.stem]
            raise UserError(
                f"{path} has {size} pixels and its annotation {annotation} {mask.shape}; replace one of them"
            )
        return self.augmentation(partial(read_frame, path), mask, rng)


class ValidationPairs(Dataset[ValidationPair]):
    """The first frame of each sequence with up to `frames` other annotated ones, evenly spaced; nothing is augmented."""

    def __init__(self, dataset: VideoDataset, frames: int) -> None:
        self.dataset = dataset
        self.pairs = [
            (s, t) for s, sequence in enumerate(dataset.sequences) for t in _evenly_spaced(sequence.annotated, frames)
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
            "mask": torch.from_numpy(sequence.annotation(frame)),
            "key": torch.tensor([s, t]),
        }


def _evenly_spaced(annotated: list[int], frames: int) -> list[int]:
    """Up to `frames` of the annotated frames; the first is left out, unless it is the only one."""
    first = min(1, len(annotated) - 1)
    places = np.linspace(0, len(annotated) - 1, frames + 2).round()[1:-1].clip(first)
    return [annotated[int(place)] for place in np.unique(places)] if annotated else []


def to_tensor(frame: Frame) -> Tensor:
    """Image uint8 `[H, W, 3]` -> uint8 `[3, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
