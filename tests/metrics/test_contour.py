"""Contour accuracy against a slow and literal version: four-neighbour comparison, full-frame dilation with a disk."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adnet.metrics import contour_accuracy


def literal_boundary(mask):
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            east = mask[y, x + 1] if x + 1 < width else None
            south = mask[y + 1, x] if y + 1 < height else None
            south_east = mask[y + 1, x + 1] if x + 1 < width and y + 1 < height else None
            boundary[y, x] = any(n is not None and n != mask[y, x] for n in (east, south, south_east))
    return boundary


def literal_contour_accuracy(mask, annotation, tolerance=0.008):
    radius = math.ceil(tolerance * np.linalg.norm(mask.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y**2 + x**2 <= radius**2).astype(np.uint8)
    predicted, annotated = literal_boundary(mask), literal_boundary(annotation)
    if not predicted.any() or not annotated.any():
        return float(predicted.any() == annotated.any())
    precision = cv2.dilate(annotated.astype(np.uint8), disk)[predicted].mean()
    recall = cv2.dilate(predicted.astype(np.uint8), disk)[annotated].mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def rectangle(shape, top, bottom, left, right):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def rectangles(shape):
    """Unions of up to three rectangles: what cuts borders, touches corners, is empty, full or one pixel large."""
    rows, columns = (st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in shape)
    one = st.tuples(rows, columns).map(lambda r: rectangle(shape, *r[0], *r[1]))
    return st.lists(one, max_size=3).map(lambda masks: np.any([np.zeros(shape, bool), *masks], axis=0))


SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 40))
MASKS = SHAPES.flatmap(lambda s: st.tuples(rectangles(s), rectangles(s)) | st.tuples(*[hnp.arrays(bool, s)] * 2))
S = (17, 29)
BORDERS = {
    "top": (0, 5, 8, 20),
    "bottom": (12, 17, 8, 20),
    "left": (4, 12, 0, 9),
    "right": (4, 12, 20, 29),
    "corner": (12, 17, 20, 29),
    "last row": (16, 17, 0, 29),
    "last column": (0, 17, 28, 29),
    "all but the border": (1, 16, 1, 28),
    "all": (0, 17, 0, 29),
    "first pixel": (0, 1, 0, 1),
    "last pixel": (16, 17, 28, 29),
    "inner pixel": (8, 9, 8, 9),
    "none": (0, 0, 0, 0),
}


@settings(max_examples=150, deadline=None)
@given(MASKS, st.sampled_from([0.0, 0.008, 0.05, 0.13, 0.3]))
@example((np.ones((1, 1), bool), np.zeros((1, 1), bool)), 0.008)
def test_equals_the_literal_version(pair, tolerance):
    assert contour_accuracy(*pair, tolerance) == pytest.approx(literal_contour_accuracy(*pair, tolerance), abs=1e-12)


@pytest.mark.parametrize("first", BORDERS)
@pytest.mark.parametrize("second", BORDERS)
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_objects_at_the_border(first, second, tolerance):
    pair = rectangle(S, *BORDERS[first]), rectangle(S, *BORDERS[second])
    assert contour_accuracy(*pair, tolerance) == pytest.approx(literal_contour_accuracy(*pair, tolerance), abs=1e-12)


@settings(deadline=None)
@given(MASKS)
def test_is_symmetric_and_bounded(pair):
    mask, annotation = pair
    assert contour_accuracy(mask, annotation) == pytest.approx(contour_accuracy(annotation, mask), abs=1e-12)
    assert 0 <= contour_accuracy(mask, annotation) <= 1
    assert contour_accuracy(mask, mask) == 1


@pytest.mark.parametrize("shift", [7, 8, 9])
def test_tolerance_is_eight_pixels_at_480x854(shift):
    # Rows of the two boundaries lie `shift` apart; each ends at the frame's sides.
    mask, annotation = rectangle((480, 854), 0, 200, 0, 854), rectangle((480, 854), 0, 200 + shift, 0, 854)
    assert contour_accuracy(mask, annotation) == (1.0 if shift <= 8 else 0.0)


def test_a_view_of_a_larger_array_is_no_trap():
    whole = np.zeros((40, 60), bool)
    whole[5:30, 7:50] = True
    mask, annotation = whole[10:35:2, 20:55:3], whole[8:33:2, 15:50:3]
    assert contour_accuracy(mask, annotation) == contour_accuracy(mask.copy(), annotation.copy())


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(4, 6\), got \(6, 4\)"):
        contour_accuracy(np.zeros((6, 4), bool), np.zeros((4, 6), bool))
