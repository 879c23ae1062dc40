"""Masks as COCO's run lengths and polygons: write those of a video, read those of files that may come from anyone."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnet.data.masks import Mask, read_mask
from adnet.shared.files import write_json
from adnet.shared.machine import need_extra


def write_coco(masks: Sequence[Path], target: Path, polygons: bool = False, folder: str = "") -> None:
    """Write `masks` (images of any mode) as COCO annotations of the category 1: run lengths (RLE), or polygons.

    The file has an image for each mask, numbered from 1, with the mask's `file_name` after `folder`, and an annotation for each
    that is not empty. Raises UserError without the extra `video`.
    """
    need_extra("video", "pycocotools", "polygons=true" if polygons else "rle=true")
    from pycocotools import mask as rle

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, path in enumerate(masks, start=1):
        mask = read_mask(path)
        images.append({"id": number, "file_name": folder + path.name, "height": mask.shape[0], "width": mask.shape[1]})
        if mask.any():
            code = rle.encode(np.asfortranarray(mask, np.uint8))
            outline = to_polygons(mask) if polygons else {**code, "counts": code["counts"].decode()}
            box = {"bbox": rle.toBbox(code).tolist(), "area": int(rle.area(code)), "segmentation": outline}
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append(ids | box)
    categories = [{"id": 1, "name": "foreground"}]
    write_json(target, {"images": images, "categories": categories, "annotations": annotations})


def to_polygons(mask: Mask) -> list[list[int]]:
    """Outline the areas of `mask` along the edges of its pixels: `[[x, y, x, y, ...], ...]`, from which pycocotools makes the same mask.

    Pixels that touch at a corner are one area. COCO's polygons have no holes: a cut of no width, there and back, leads to each.
    """
    doubled = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outlines: dict[int, Any] = {}
    for index in sorted(range(len(contours)), key=lambda index: tree[0, index, 3] >= 0):  # holes after what they are in
        # The contour runs through the outermost of the doubled pixels; the edge of the pixel itself is half of one further out.
        corners = (contours[index][:, 0] + 1) // 2
        around, area = tree[0, index, 3], index
        if around >= 0:
            area = around
            outer = outlines[area]
            near = np.abs(outer - corners[0]).sum(axis=1).argmin()
            corners = np.concatenate([outer[: near + 1], corners, corners[:1], outer[near:]])
        outlines[area] = corners
    return [outline.flatten().tolist() for outline in outlines.values()]


def segmentation_mask(segmentation: Any, size: tuple[int, int]) -> Mask:
    """Read the `segmentation` of a COCO annotation, run lengths or polygons `[[x, y, ...], ...]`, as bool `[H, W]` of this size.

    What lies outside of the frame is cut off. Raises ValueError as `decode` does, and for polygons of fewer than three points,
    entirely outside of the frame or by more than its side (pycocotools' memory grows with the coordinates), or in shares of it.
    """
    if isinstance(segmentation, Mapping):
        return decode(segmentation, {size})
    from pycocotools import mask as rle

    height, width = size
    mask = np.zeros(size, bool)
    for polygon in segmentation:
        if not isinstance(polygon, Sequence) or len(polygon) % 2 or len(polygon) < 6:
            raise ValueError("a polygon is not a list of at least three points [x, y, x, y, x, y, ...]")
        try:
            points = np.asarray(polygon, float).reshape(-1, 2)
        except (TypeError, ValueError) as error:
            raise ValueError("a polygon has coordinates that are no numbers") from error
        low, high = points.min(axis=0), points.max(axis=0)
        inside = (high > 0).all() and (low < (width, height)).all()
        if not (inside and (low >= (-width, -height)).all() and (high <= (2 * width, 2 * height)).all()):
            corners = f"from x={low[0]:g}, y={low[1]:g} to x={high[0]:g}, y={high[1]:g}"
            raise ValueError(f"a polygon {corners} lies outside of the frame of {width}x{height}")
        if high.max() <= 1 and (points % 1).any():
            raise ValueError("a polygon has coordinates from 0 to 1: write them in pixels")
        mask |= rle.decode(rle.frPyObjects([points.flatten().tolist()], height, width))[..., 0].astype(bool)
    return mask


def decode(segmentation: Any, sizes: Collection[tuple[int, int]]) -> Mask:
    """Decode `{"size": [H, W], "counts": ...}` to bool `[H, W]`; the counts are a list or COCO's compressed string.

    Raises ValueError for anything else, for runs that do not fill the mask exactly (pycocotools would leave pixels uninitialised),
    and for a size that is not in `sizes` (height and width in pixels), because a few bytes can encode gigabytes.
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
    """Decode COCO's compressed counts: characters of 5 bits, lowest first, offset by "0" (48).

    Bit 32 says that more characters follow; bit 16 of the last is the sign. From the fourth on, counts are differences to the one
    two before.
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
