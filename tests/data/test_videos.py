from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.data.videos import Video
from adnet.errors import UserError

MASK = np.zeros((6, 9), dtype=bool)
MASK[1:4, 2:7] = True


@given(st.integers(0, 5))
def test_annotation_is_found_by_the_stem(index: int) -> None:
    sequence = Video("a", tuple(Path(f"{i:05d}.jpg") for i in range(6)), {"00002": Path("nowhere/00002.png")})
    with pytest.raises(UserError if index == 2 else KeyError):
        sequence.annotation(sequence.frames[index])
