"""Pairs of an anchor and a frame (Section 4, Training), the same for any number of workers and ranks."""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from adnet.data.augmentation import Augmentation, Augmented, FlowAugmentation, pasted
from adnet.data.flow import SequenceFlow, to_flow_input
from adnet.data.pictures import Frame, check_same_size, image_size, read_frame
from adnet.data.videos import Video, VideoDataset
from adnet.errors import UserError
from adnet.shared.value_types import Proportion

Anchor = Literal["first", "random"]


class TrainingPair(TypedDict):
    """`anchor` and `frame`: RGB uint8 `[3, H, W]`; `mask`: bool `[H, W]`, the annotation of `frame`.

    `key`: int64 `[3]`, the index of the sequence, and those of the anchor and the frame in it. `flow`, if requested: `to_flow_input`
    of the frame's, float32 `[3, h, w]` (of its size in training).
    """

    anchor: Tensor
    frame: Tensor
    mask: Tensor
    key: Tensor
    flow: NotRequired[Tensor]


class ValidationPair(TrainingPair):
    """A pair whose `key`, int64 `[2]`, has no index of the anchor."""


@dataclass(eq=False, repr=False)
class TrainingPairs(Dataset[TrainingPair]):
    """`length` random pairs, from pair `start` on: the anchor and another random frame of a video, or an image twice.

    Pair i of the endless stream depends on (`seed`, i) only: neither workers nor ranks change what is drawn, and a resumed
    run continues with the pairs that it would have seen. `anchor="first"` takes the first annotated frame, `"random"` any
    (the paper tried both and found the first slightly better); it is cropped around its foreground, so both frames are annotated.
    Videos are drawn by their `weight`. With `flow`, a pair has the frame's optical flow, degraded by `flow_augmentation` unless
    that is None. With probability `paste`, both frames get the foreground of another pair on top (copy-paste; Ghiasi et al., CVPR
    2021, arXiv:2012.07177), and their own stays. Raises UserError for a video with fewer than two annotated frames and an image
    without annotation.
    """

    dataset: VideoDataset
    length: int
    augmentation: Augmentation
    seed: int
    anchor: Anchor = "first"
    start: int = 0
    flow: SequenceFlow | None = None
    flow_augmentation: FlowAugmentation | None = None
    paste: Proportion = 0.0

    def __post_init__(self) -> None:
        for sequence in self.dataset.sequences:
            if len(sequence.annotated) < min(2, len(sequence.frames)):
                where = f"sequence {sequence.name} of {self.dataset.name} {self.dataset.split}"
                why = "has fewer than two annotated frames, and a training pair needs two"
                raise UserError(f"{where} {why}: leave it out of data.train_sequences")
        weights = np.cumsum([sequence.weight for sequence in self.dataset.sequences])
        # Equal weights keep the older way of drawing, so that runs of an older version see the same pairs.
        uniform = len({sequence.weight for sequence in self.dataset.sequences}) == 1
        self._cumulative = None if uniform else weights / weights[-1]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> TrainingPair:
        rng = np.random.default_rng([self.seed, self.start + index])
        key, anchor, frame = self._drawn(rng)
        if self.paste and rng.random() < self.paste:
            _, *others = self._drawn(rng)
            anchor, frame = map(pasted, (anchor, frame), others)
        pair: TrainingPair = {
            "anchor": to_tensor(anchor.frame),
            "frame": to_tensor(frame.frame),
            "mask": torch.from_numpy(frame.mask),
            "key": torch.tensor(key),
        }
        if frame.flow is not None:
            augment = self.flow_augmentation
            pair["flow"] = to_flow_input(frame.flow if augment is None else augment(frame.flow, rng))
        return pair

    def _drawn(self, rng: np.random.Generator) -> tuple[tuple[int, int, int], Augmented, Augmented]:
        """Draw a pair: its key, anchor and frame."""
        s = self._draw_sequence(rng)
        sequence = self.dataset.sequences[s]
        annotated = sequence.annotated
        anchor = 0 if self.anchor == "first" else int(rng.integers(len(annotated)))
        frame = anchor  # for an image: the two are augmented differently
        if len(annotated) > 1:
            frame = int(rng.integers(len(annotated) - 1))
            frame += frame >= anchor
        key = s, annotated[anchor], annotated[frame]
        return key, self._augmented(sequence, key[1], rng), self._augmented(sequence, key[2], rng, self.flow)

    def _draw_sequence(self, rng: np.random.Generator) -> int:
        if self._cumulative is None:
            return int(rng.integers(len(self.dataset.sequences)))
        return int(np.searchsorted(self._cumulative, rng.random(), side="right"))

    def _augmented(
        self, sequence: Video, index: int, rng: np.random.Generator, flow: SequenceFlow | None = None
    ) -> Augmented:
        path = sequence.frames[index]
        mask = sequence.annotation(path)
        check_same_size(path, image_size(path), sequence.annotations[path.stem], mask.shape)
        vectors = None if flow is None else flow(sequence, index)
        return self.augmentation(partial(read_frame, path), mask, rng, vectors)


class ValidationPairs(Dataset[ValidationPair]):
    """Each sequence's first frame with up to `frames` other annotated ones, evenly spaced; nothing is augmented."""

    def __init__(self, dataset: VideoDataset, frames: int, flow: SequenceFlow | None = None) -> None:
        self.dataset = dataset
        self.flow = flow
        self.pairs: list[tuple[int, int]] = []
        for s, sequence in enumerate(dataset.sequences):
            if annotated := sequence.annotated:
                first = min(1, len(annotated) - 1)  # without the first frame, unless it is the only one
                places = np.linspace(0, len(annotated) - 1, frames + 2).round()[1:-1].clip(first)
                self.pairs += [(s, annotated[int(place)]) for place in np.unique(places)]

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


def to_tensor(frame: Frame) -> Tensor:
    """Convert an image, uint8 `[H, W, 3]`, to a tensor, uint8 `[3, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))
