"""Masks in COCO's run-length code: write those of a video, decode those of files that may come from anyone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adnet.data.masks import Mask, read_mask
from adnet.shared.extras import need_extra
from adnet.shared.files import write_json


def write_coco(masks: Sequence[Path], target: Path) -> None:
    """Write `masks` (images of any mode; every value except 0 is foreground) as COCO annotations in run-length code (RLE).

    `pycocotools.coco.COCO(target)` can read the file. It has an image for each mask, numbered from 1, with the mask's
    `file_name`, and an annotation for each mask that is not empty. Raises UserError without the extra `video`.
    """
    need_extra("video", "pycocotools", "rle=true")
    from pycocotools import mask as rle

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, path in enumerate(masks, start=1):
        mask = read_mask(path)
        images.append({"id": number, "file_name": path.name, "height": mask.shape[0], "width": mask.shape[1]})
        if mask.any():
            code = rle.encode(np.asfortranarray(mask, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
                }
            )
    categories = [{"id": 1, "name": "foreground"}]
    write_json(target, {"images": images, "categories": categories, "annotations": annotations})


def decode(segmentation: Mapping[str, Any], sizes: Collection[tuple[int, int]]) -> Mask:
    """Decode `{"size": [H, W], "counts": ...}` to bool `[H, W]`; the counts are a list or COCO's compressed string.

    Raises ValueError for anything else, for runs that do not fill the mask exactly, and for a size that is not in `sizes`
    (height and width in pixels), because a few bytes can encode gigabytes. pycocotools would leave pixels uninitialised where a
    code is too short.
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
