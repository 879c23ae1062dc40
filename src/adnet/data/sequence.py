"""Videos on disk: their frames and annotations, fingerprints of whole datasets, and a word about masks that look odd."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from adnet import __version__
from adnet.data.masks import Mask, has_void, read_mask
from adnet.errors import UserError
from adnet.shared.files import remembered

SAMPLE = 12  # masks that `report_odd_masks` looks at, over the whole dataset
NEARLY_ALL = 0.95  # share of foreground from which on a mask is odd


@dataclass(frozen=True)
class Sequence:
    """One video.

    `frames` are image paths in time order; `annotations` maps a frame's stem (`"00012"`) to its annotation and may be sparse.
    `attributes` are the dataset's labels for the video (DAVIS: `OCC`, `FM`, ...), `regions` those of `read_mask`. `weight` is the
    relative probability that a training pair is drawn from the video.
    """

    name: str
    frames: tuple[Path, ...]
    annotations: Mapping[str, Path]
    attributes: tuple[str, ...] = ()
    regions: tuple[int, ...] = ()
    weight: float = 1.0

    @property
    def annotated(self) -> list[int]:
        """Indices of the frames that have an annotation."""
        return [index for index, frame in enumerate(self.frames) if frame.stem in self.annotations]

    def annotation(self, frame: Path) -> Mask:
        """Read the annotation of `frame`: bool `[H, W]`. Raises KeyError if the frame has none."""
        return read_mask(self.annotations[frame.stem], self.regions)


Rule: TypeAlias = Callable[[Sequence], list[str]]
"""A benchmark's rule: the stems of the frames that count, in time order, each of which is annotated."""


def annotated_frames(sequence: Sequence) -> list[str]:
    """List the stems of all annotated frames."""
    return [frame.stem for frame in sequence.frames if frame.stem in sequence.annotations]


def all_but_first_and_last(sequence: Sequence) -> list[str]:
    """List the stems of the annotated frames without the sequence's first and last frame (DAVIS-2016)."""
    return [frame.stem for frame in sequence.frames[1:-1] if frame.stem in sequence.annotations]


@dataclass(frozen=True)
class VideoDataset:
    """Sequences of one split, at least one, and the rule for the frames that count. Raises UserError if there is no sequence.

    `options` are the arguments beyond root and split that say what is annotated.
    """

    name: str
    split: str
    root: Path
    sequences: tuple[Sequence, ...]
    scored: Rule = all_but_first_and_last
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sequences:
            raise UserError(f"{self.name} {self.split} has no sequences; check the dataset in {self.root}")


def fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Return names, sizes, and a SHA-256 each of the annotations and the frames: equal for equal data, wherever it lies."""
    digest, frames = hashlib.sha256(), hashlib.sha256()
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            digest.update(f"{sequence.name}/{frame.stem}\n".encode())
            frames.update(hashlib.sha256(frame.read_bytes()).digest())
            if frame.stem in sequence.annotations:
                digest.update(hashlib.sha256(sequence.annotations[frame.stem].read_bytes()).digest())
    return {
        "sequences": [sequence.name for sequence in dataset.sequences],
        "frames": sum(len(sequence.frames) for sequence in dataset.sequences),
        "sha256": digest.hexdigest(),
        "frames_sha256": frames.hexdigest(),
    }


def known_fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Return `fingerprint`, but read the files only if one of them has another size or time than the last time."""
    files = [file for sequence in dataset.sequences for file in (*sequence.frames, *sequence.annotations.values())]
    what = repr((__version__, [(sequence.name, len(sequence.frames)) for sequence in dataset.sequences]))
    return remembered(what, files, lambda: fingerprint(dataset))


def evenly_spaced(total: int, count: int) -> list[int]:
    """Choose at most `count` different indices in [0, total), including the first and the last if `count` > 1."""
    return sorted({round(index) for index in np.linspace(0, total - 1, min(count, total)).tolist()})


def report_odd_masks(dataset: VideoDataset) -> None:
    """Log one line if nearly all pixels of all masks are foreground, and one if a mask has the label 255 beside other labels.

    Reads a few masks of the whole dataset. One that can't be read is left to the reader that needs it.
    """
    every = [(s, s.frames[index]) for s in dataset.sequences for index in s.annotated]
    shares, void = [], None
    for sequence, frame in (every[index] for index in evenly_spaced(len(every), SAMPLE)):
        with suppress(UserError):
            shares.append(sequence.annotation(frame).mean())
            file = sequence.annotations[frame.stem]
            void = void or (file if not sequence.regions and has_void(file) else None)
    where, say = f"{dataset.name} {dataset.split} in {dataset.root}", logging.getLogger(__name__).warning
    if shares and min(shares) >= NEARLY_ALL:
        share = f"of {len(shares)} masks at least {100 * min(shares):.0f} %"
        say("%s: nearly all pixels of all masks are foreground (%s): are they inverted, or not masks?", where, share)
    if void:
        what = 'if one of them means "not annotated" (void) or "unknown", set it to 0: it counts as foreground'
        say("%s: %s has the label 255 beside others; %s", where, void, what)
