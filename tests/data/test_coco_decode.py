from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from run_lengths import encode

from adnet.data.coco_masks import decode

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24))


@given(MASKS)
def test_as_pycocotools_has_it(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    assert np.array_equal(decode(encode(mask), [mask.shape]), mask)


def test_a_known_code() -> None:
    """2 of 0, 3 of 1, 1 of 0, down the columns."""
    mask = decode({"size": [3, 2], "counts": [2, 3, 1]}, {(2, 3), (3, 2)})
    assert mask.tolist() == [[False, True], [False, True], [True, False]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [3, 2], "counts": [2, 3]}, "5 pixels"),
        ({"size": [3, 2], "counts": [2, 30]}, "32 pixels"),
        ({"size": [3, 2], "counts": [-2, 8]}, "whole number"),
        ({"size": [3, 2], "counts": [2.5, 3.5]}, "whole number"),
        ({"size": [-3, -2], "counts": [6]}, "whole number"),
        ({"size": [3, 2], "counts": None}, "whole number"),
        ({"size": [3, 2], "counts": ""}, "0 pixels"),
        ({"size": [3, 2], "counts": "é"}, "not a character"),
        ({"size": [3, 2], "counts": "P"}, "incomplete"),
        ({"size": [3], "counts": [3]}, "expected"),
        ([[1, 2, 3, 4]], "expected"),
        ({"size": [[3], 2], "counts": [6]}, "whole number"),
        ({"size": [10**7, 10**7], "counts": [10**14]}, "its size is 10000000x10000000, that of the frames 3x2"),
    ],
)
def test_what_is_no_code_is_refused(code: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(code, {(3, 2)})


@given(st.text(max_size=12))
def test_no_text_is_read_as_another_size(text: str) -> None:
    try:
        mask = decode({"size": [4, 5], "counts": text}, {(4, 5)})
    except ValueError:
        return
    assert mask.shape == (4, 5)
