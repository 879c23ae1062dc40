"""Pairs of an anchor and a frame (Section 4, Training), reproducible whatever the number of workers and ranks."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adnet.data.augmentation import Augmentation, Augmented, FlowAugmentation
from adnet.data.flow import SequenceFlow, to_flow_input
from adnet.data.sequence import Frame, Sequence, VideoDataset, image_size, read_frame
from adnet.errors import UserError

Anchor = Literal["first", "random"]


class _Pair(TypedDict):
    anchor: Tensor
    frame: Tensor
    mask: Tensor
    key: Tensor


class TrainingPair(_Pair, total=False):
    """`anchor` and `frame`: uint8 `[3, H, W]` RGB; `mask`: bool `[H, W]`, the annotation of `frame`.

    `key`: int64 `[3]`, the index of the sequence and, in it, of the anchor and of the frame. `flow`, where it was asked for:
    float32 `[3, h, w]`, the optical flow of `frame` (in training of its size), see `adnet.data.flow.to_flow_input`.
    """

    flow: Tensor


class ValidationPair(TrainingPair):
    """A pair whose `key`, int64 `[2]`, leaves out the anchor."""


class TrainingPairs(Dataset[TrainingPair]):
    """`length` random pairs from the `start`-th on: a video, its anchor, and a random other frame of it; of an image, the image twice.

    Pair i of the endless stream is a function of (`seed`, i) alone, so neither workers nor ranks change what is drawn, and a
    run that is resumed goes on with the pairs that it would have seen. `anchor="first"` takes the first frame, `"random"`
    any (the paper tried both and found the first slightly better). Both are frames that have an annotation: the anchor, too,
    is cropped around its foreground. Videos are drawn by their `weight`. With `flow` the frame's optical flow comes along,
    spoilt by `flow_augmentation`. Raises UserError for a video of fewer than two annotated frames and an image without annotation.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        length: int,
        augmentation: Augmentation,
        seed: int,
        anchor: Anchor = "first",
        start: int = 0,
        flow: SequenceFlow | None = None,
        flow_augmentation: FlowAugmentation | None = None,
    ) -> None:
        for sequence in dataset.sequences:
            if len(sequence.annotated) < min(2, len(sequence.frames)):
                raise UserError(
                    f"sequence {sequence.name} of {dataset.name} {dataset.split} has fewer than two annotated frames, which a "
                    "training pair takes: leave it out of data.train_sequences"
                )
        weights = np.cumsum([sequence.weight for sequence in dataset.sequences])
        # Of equal ones as it always was, so that a run of an older version sees the same pairs.
        uniform = len({sequence.weight for sequence in dataset.sequences}) == 1
        self._cumulative = None if uniform else weights / weights[-1]
        self.dataset = dataset
        self.length = length
        self.start = start
        self.augmentation = augmentation
        self.seed = seed
        self.anchor = anchor
        self.flow = flow
        self.flow_augmentation = flow_augmentation or FlowAugmentation()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> TrainingPair:
        rng = np.random.default_rng([self.seed, self.start + index])
        s = self._drawn(rng)
        sequence = self.dataset.sequences[s]
        annotated = sequence.annotated
        anchor = 0 if self.anchor == "first" else int(rng.integers(len(annotated)))
        if len(annotated) > 1:
            frame = int(rng.integers(len(annotated) - 1))
            frame += frame >= anchor
        else:
            frame = anchor  # augmented apart
        anchor, frame = annotated[anchor], annotated[frame]
        augmented_anchor, augmented = (
            self._augmented(sequence, anchor, rng),
            self._augmented(sequence, frame, rng, self.flow),
        )
        pair: TrainingPair = {
            "anchor": to_tensor(augmented_anchor.frame),
            "frame": to_tensor(augmented.frame),
            "mask": torch.from_numpy(augmented.mask),
            "key": torch.tensor([s, anchor, frame]),
        }
        if augmented.flow is not None:
            pair["flow"] = to_flow_input(self.flow_augmentation(augmented.flow, rng))
        return pair

    def _drawn(self, rng: np.random.Generator) -> int:
        if self._cumulative is None:
            return int(rng.integers(len(self.dataset.sequences)))
        return int(np.searchsorted(self._cumulative, rng.random(), side="right"))

    def _augmented(
        self, sequence: Sequence, index: int, rng: np.random.Generator, flow: SequenceFlow | None = None
    ) -> Augmented:
        path = sequence.frames[index]
        mask = sequence.annotation(path)
        if (size := image_size(path)) != mask.shape:
            annotation = sequence.annotations[path.stem]
            raise UserError(
                f"{path} has {size} pixels and its annotation {annotation} {mask.shape}; replace one of them"
            )
        vectors = None if flow is None else flow(sequence, index)
        return self.augmentation(partial(read_frame, path), mask, rng, vectors)


class ValidationPairs(Dataset[ValidationPair]):
    """The first frame of each sequence with up to `frames` other annotated ones, evenly spaced; nothing is augmented."""

    def __init__(self, dataset: VideoDataset, frames: int, flow: SequenceFlow | None = None) -> None:
        self.dataset = dataset
        self.flow = flow
        self.pairs = [
            (s, t) for s, sequence in enumerate(dataset.sequences) for t in _evenly_spaced(sequence.annotated, frames)
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> ValidationPair:
        s, t = self.pairs[index]
        sequence = self.dataset.sequences[s]
        frame = sequence.frames[t]
        pair: ValidationPair = {
            "anchor": to_tensor(read_frame(sequence.frames[0])),
            "frame": to_tensor(read_frame(frame)),
            "mask": torch.from_numpy(sequence.annotation(frame)),
            "key": torch.tensor([s, t]),
        }
        if self.flow is not None:
            pair["flow"] = to_flow_input(self.flow(sequence, t))
        return pair


def _evenly_spaced(annotated: list[int], frames: int) -> list[int]:
    """Up to `frames` of the annotated frames; the first is left out, unless it is the only one."""
    first = min(1, len(annotated) - 1)
    places = np.linspace(0, len(annotated) - 1, frames + 2).round()[1:-1].clip(first)
    return [annotated[int(place)] for place in np.unique(places)] if annotated else []


def to_tensor(frame: Frame) -> Tensor:
    """Image uint8 `[H, W, 3]` -> uint8 `[3, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
