"""Contour accuracy F: the F-measure of a mask's boundary pixels against its annotation's."""

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Boundary = npt.NDArray[np.uint8]
_WINDOW = np.ones((2, 2), np.uint8)


def contour_accuracy(mask: npt.NDArray[np.bool_], annotation: npt.NDArray[np.bool_], tolerance: float = 0.008) -> float:
    """Compute F of two bool `[H, W]` arrays, in [0, 1].

    A boundary pixel is matched if the other boundary has a pixel within `ceil(tolerance * diagonal)` pixels (8 at
    480x854); F = 2PR / (P + R) for the matched shares P and R of the two boundaries. F is 1 if neither has a boundary and 0
    if only one has; a mask that fills its frame has none.

    Raises ValueError if the shapes differ. Source: Perazzi et al., CVPR 2016. The numbers equal those of the published
    evaluation, which dilates both boundary maps with a disk; here the disk is looked up at the boundary pixels only.
    """
    if mask.shape != annotation.shape:
        raise ValueError(f"expected a mask of the annotation's shape {annotation.shape}, got {mask.shape}")
    height, width = mask.shape
    radius = math.ceil(tolerance * math.sqrt(height**2 + width**2))

    masks = [np.ascontiguousarray(array, dtype=np.bool_).view(np.uint8) for array in (mask, annotation)]
    x, y, w, h = cv2.boundingRect(masks[0] | masks[1])
    # One more pixel on each side: a boundary lies half a pixel towards the origin, and an object that ends inside the
    # frame must not seem to end at the frame's border.
    crop = np.s_[max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
    predicted, annotated = (_padded_boundary(array[crop], radius) for array in masks)

    n_predicted, n_annotated = cv2.countNonZero(predicted), cv2.countNonZero(annotated)
    if not n_predicted or not n_annotated:
        return float(n_predicted == n_annotated)
    precision = _matched(predicted, annotated, radius) / n_predicted
    recall = _matched(annotated, predicted, radius) / n_annotated
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _padded_boundary(mask: Boundary, radius: int) -> Boundary:
    """Compute the boundary map (0/1) of `mask`, padded so that no look-up leaves the array.

    A pixel is on the boundary if it differs from its E, S or SE neighbour, that is, if its 2x2 window is not uniform.
    Windows are cut at the border: as published, the last row only looks E and the last column only S.
    """
    boundary = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, _WINDOW, anchor=(0, 0))
    return np.asarray(cv2.copyMakeBorder(boundary, radius, radius, radius, radius + 1, cv2.BORDER_CONSTANT, value=0))


def _matched(boundary: Boundary, other: Boundary, radius: int) -> int:
    """Count the pixels of `boundary` that have a pixel of `other` within `radius`."""
    stride = boundary.shape[1]
    # A summed-area table is one column wider than its input; dropping the last column gives it the stride of `boundary`.
    table = cv2.integral(other[:, :-1]).ravel()
    pixels = np.flatnonzero(boundary.view(np.bool_))
    total = len(pixels)
    for half_height, half_width in _rectangles(radius):
        top, bottom = pixels - half_height * stride, pixels + (half_height + 1) * stride
        left, right = -half_width, half_width + 1
        count = table[bottom + right] - table[bottom + left] - table[top + right] + table[top + left]
        pixels = pixels[count == 0]
    return total - len(pixels)


@lru_cache
def _rectangles(radius: int) -> list[tuple[int, int]]:
    """List half heights and half widths of the rectangles whose union is the disk x^2 + y^2 <= radius^2, largest first."""
    tallest = {math.isqrt(radius**2 - y**2): y for y in range(radius + 1)}
    return sorted(((y, x) for x, y in tallest.items()), key=lambda half: (2 * half[0] + 1) * (2 * half[1] + 1))[::-1]
