from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adnet.convert import copy_dataset
from adnet.data import davis2016, folder
from adnet.errors import UserError


def test_the_copy_is_read_as_ones_own_videos(tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    first, second = dataset.sequences
    sparse = replace(first, name="a/b", annotations={stem: first.annotations[stem] for stem in ("00001", "00003")})
    copy_dataset(replace(dataset, sequences=(sparse, second)), tmp_path / "deep" / "mine")
    copied = folder(tmp_path / "deep" / "mine", "val")
    assert [sequence.name for sequence in copied.sequences] == ["a-b", second.name]
    for sequence, given in zip(copied.sequences, (sparse, second), strict=True):
        assert sequence.annotations.keys() == given.annotations.keys()
        for frame, before in zip(sequence.frames, given.frames, strict=True):
            assert (frame.name, frame.read_bytes()) == (before.name, before.read_bytes())
            if frame.stem in sequence.annotations:
                np.testing.assert_array_equal(sequence.annotation(frame), given.annotation(before))


def test_nothing_is_overwritten_and_nothing_left_half_done(tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    (tmp_path / "mine").mkdir()  # an empty folder may be there
    last = dataset.sequences[-1]
    damaged = last.annotations[last.frames[-1].stem]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:50])
    with pytest.raises(UserError, match=damaged.name):
        copy_dataset(dataset, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir() if path != tiny_davis] == ["mine"]
    assert not [*(tmp_path / "mine").iterdir()]
    damaged.write_bytes(content)
    copy_dataset(dataset, tmp_path / "mine")
    for output in (tmp_path / "mine", damaged):
        with pytest.raises(
            UserError, match=f"{output.name} already exists and is not an empty folder; give another output"
        ):
            copy_dataset(dataset, output)
    assert damaged.read_bytes() == content


def test_names_that_would_be_the_same(tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    twice = tuple(replace(dataset.sequences[0], name=name) for name in ("a/b", "a-b"))
    with pytest.raises(UserError, match="differ in / and - alone"):
        copy_dataset(replace(dataset, sequences=twice), tmp_path / "mine")
