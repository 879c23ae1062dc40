import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adnet.metrics import region_similarity

PAIRS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@given(PAIRS)
def test_is_the_jaccard_index_of_the_pixel_sets(pair):
    mask, annotation = ({tuple(pixel) for pixel in np.argwhere(array)} for array in pair)
    expected = len(mask & annotation) / len(mask | annotation) if mask | annotation else 1.0
    assert region_similarity(*pair) == expected


def test_empty_masks():
    empty, full = np.zeros((4, 6), bool), np.ones((4, 6), bool)
    assert region_similarity(empty, empty) == 1
    assert region_similarity(empty, full) == region_similarity(full, empty) == 0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(4, 6\), got \(6, 4\)"):
        region_similarity(np.zeros((6, 4), bool), np.zeros((4, 6), bool))
