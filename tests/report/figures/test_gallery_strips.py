"""Overlay strips: which sequences and frames, and that mask and annotation are where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.data.sequence import evenly_spaced
from adnet.report.analysis.pooling import Comparison, pool
from adnet.report.figures.gallery import ANNOTATION_COLOUR, overlay_strips
from adnet.report.read.runs import find_runs
from adnet.video.overlay import COLOUR, OPACITY


@pytest.fixture
def comparison(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> Comparison:
    make_run("0", variant="baseline", root=davis)
    make_run("1", variant="full", root=davis)
    return pool(find_runs([tmp_path / "runs"]))[0]


def test_hardest_first_and_easiest_last(comparison: Comparison) -> None:
    groups = overlay_strips(comparison, sequences=3, frames=2, width=48)
    assert [[(strip.sequence, strip.label) for strip in group] for group in groups] == [
        [("camel", "baseline"), ("camel", "full")],
        [("kite", "baseline"), ("kite", "full")],
        [("bear", "baseline"), ("bear", "full")],
    ]
    assert pytest.approx(0.4) == groups[0][0].J


def test_no_sequence_twice(comparison: Comparison) -> None:
    groups = overlay_strips(comparison, sequences=9, frames=2, width=48)
    assert [group[0].sequence for group in groups] == ["camel", "kite", "dog", "bear"]


def test_picture(comparison: Comparison) -> None:
    strip = overlay_strips(comparison, sequences=1, frames=3, width=48)[0][0]
    assert strip.frames == ("00000", "00002", "00005")
    assert strip.picture.shape == (32, 3 * 48 + 2 * 4, 3)
    first, last = strip.picture[:, :48], strip.picture[:, -48:]
    # Frame 0: mask and annotation are the same square, columns 8 to 23. Frame 5: the mask has moved by 5.
    assert (first[8, 8:24] == ANNOTATION_COLOUR).all()
    assert (last[8, 24:29] == COLOUR).all()
    assert abs(first[16, 16].astype(int) - ((1 - OPACITY) * 90 + OPACITY * COLOUR)).max() < 4
    assert abs(last[16, 4].astype(int) - 90).max() < 4


def test_frames_are_shrunk(comparison: Comparison) -> None:
    strip = overlay_strips(comparison, sequences=1, frames=1, width=24)[0][0]
    assert strip.picture.shape == (16, 24, 3)


def test_what_is_not_on_disk_is_left_out(comparison: Comparison, davis: Path) -> None:
    (davis / "JPEGImages/480p/camel").rename(davis / "elsewhere")
    groups = overlay_strips(comparison, sequences=4, frames=1, width=48)
    assert [group[0].sequence for group in groups] == ["kite", "dog", "bear"]
    (davis / "JPEGImages").rename(davis / "gone")
    assert overlay_strips(comparison, sequences=4, frames=1, width=48) == []


def test_frames_and_annotations_are_found_as_the_dataset_has_them(
    make_run: Callable[..., Path], davis: Path, tmp_path: Path
) -> None:
    """Here as `data=folder`: frames may lack an annotation, and are then drawn without one."""
    (davis / "JPEGImages/480p").rename(davis / "frames")
    (davis / "Annotations/480p").rename(davis / "masks")
    (davis / "masks/camel/00005.png").unlink()
    make_run("0", root=davis, dataset="folder", split="all")
    (comparison,) = pool(find_runs([tmp_path / "runs"]))
    strip = overlay_strips(comparison, sequences=1, frames=2, width=48)[0][0]
    outlines = [(half == ANNOTATION_COLOUR).all(axis=-1).any() for half in np.split(strip.picture, [48, 52], axis=1)]
    assert (strip.frames, outlines) == (("00000", "00005"), [True, True, False])  # between them a white gap


@given(st.integers(1, 200), st.integers(1, 12))
def test_evenly_spaced(total: int, count: int) -> None:
    places = evenly_spaced(total, count)
    assert len(places) == min(total, count)
    assert places == sorted(set(places))
    assert places[0] == 0
    assert count == 1 or places[-1] == total - 1
    assert np.ptp(np.diff(places)) <= 1 if len(places) > 2 else True
