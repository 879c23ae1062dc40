"""Decode masks in COCO's run-length code from files that may come from anyone.

pycocotools leaves pixels uninitialised where a code is too short, so decoding is done here, with checks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from adnet.data.sequence import Mask


def decode(segmentation: Mapping[str, Any], sizes: Collection[tuple[int, int]]) -> Mask:
    """Decode `{"size": [H, W], "counts": ...}` to bool `[H, W]`; the counts are a list or COCO's compressed string.

    Raises ValueError for anything else, for runs that do not fill the mask exactly, and for a size that is not in `sizes`
    (height and width in pixels), because a few bytes can encode gigabytes.
    """
    try:
        (height, width), counts = segmentation["size"], segmentation["counts"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("expected {'size': [H, W], 'counts': ...}") from error
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, Sequence) or not all(type(n) is int and n >= 0 for n in (height, width, *runs)):
        raise ValueError("a size or a run is not a whole number from 0")
    if (height, width) not in sizes:
        wanted = " or ".join(f"{size[0]}x{size[1]}" for size in sizes)
        raise ValueError(f"its size is {height}x{width}, that of the frames {wanted}")
    if sum(runs) != height * width:
        raise ValueError(f"the runs come to {sum(runs)} pixels, the size {height}x{width} to {height * width}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape((height, width), order="F")


def _uncompressed(code: str) -> list[int]:
    """Decode COCO's compressed counts.

    A character holds 5 bits of a count, lowest first, offset by "0" (48). Its bit 32 says that more characters follow; bit 16 of
    the last one is the sign. From the third on, a count is stored as the difference to the one two before.
    """
    counts: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} is not a character of compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the run lengths are incomplete")
    return counts
