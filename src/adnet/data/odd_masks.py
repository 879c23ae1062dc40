"""Say it when the masks of a dataset look as if they meant something else than they are read as."""

from __future__ import annotations

import logging
from contextlib import suppress

from adnet.data.masks import has_void
from adnet.data.sequence import VideoDataset, evenly_spaced
from adnet.errors import UserError

SAMPLE = 12
"""Masks that are looked at, over the whole dataset."""

NEARLY_ALL = 0.95


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
    where = f"{dataset.name} {dataset.split} in {dataset.root}"
    if shares and min(shares) >= NEARLY_ALL:
        logging.getLogger(__name__).warning(
            "%s: nearly all pixels of all masks are foreground (of %d masks at least %.0f %%): are they inverted, or not masks?",
            where,
            len(shares),
            100 * min(shares),
        )
    if void:
        logging.getLogger(__name__).warning(
            '%s: %s has the label 255 beside others; if one of them means "not annotated" (void) or "unknown", set it to 0: it '
            "counts as foreground",
            where,
            void,
        )
