"""Overlay strips: which sequences and frames, and that mask and annotation are where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adnet.data.videos import evenly_spaced
from adnet.report.analysis.pooling import Comparison, pool
from adnet.report.figures.gallery import ANNOTATION_COLOUR, Gallery, strip_gallery
from adnet.report.read import find_runs
from adnet.video.overlay import COLOUR, OPACITY


@pytest.fixture
def comparison(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> Comparison:
    make_run("0", variant="baseline", root=davis)
    make_run("1", variant="full", root=davis)
    return pool(find_runs([tmp_path / "runs"]))[0]


def strips(comparison: Comparison, folder: Path, sequences: int, frames: int, width: int) -> Gallery:
    """The gallery of strips, with its pictures in `folder`."""
    folder.mkdir()
    gallery = strip_gallery(comparison, folder, "masks", sequences, frames, width)
    assert gallery is not None
    return gallery


def picture(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_hardest_first_and_easiest_last(comparison: Comparison, tmp_path: Path) -> None:
    gallery = strips(comparison, tmp_path / "figures", sequences=3, frames=2, width=48)
    shown = [(title, [picture["label"] for picture in pictures]) for title, pictures in gallery.groups.items()]
    assert shown == [(name, ["baseline", "full"]) for name in ("camel", "kite", "bear")]
    assert gallery.groups["camel"][0]["scores"] == "J 40.0\N{EN SPACE}F 30.0"
    lines = (tmp_path / "figures/masks.csv").read_text().splitlines()
    assert lines[:2] == ["sequence,variant,J,F,frames", "camel,baseline,40.0,30.0,00000 00005"]


def test_no_sequence_twice(comparison: Comparison, tmp_path: Path) -> None:
    gallery = strips(comparison, tmp_path / "figures", sequences=9, frames=2, width=48)
    assert list(gallery.groups) == ["camel", "kite", "dog", "bear"]


def test_picture(comparison: Comparison, tmp_path: Path) -> None:
    gallery = strips(comparison, tmp_path / "figures", sequences=1, frames=3, width=48)
    assert gallery.groups["camel"][0]["alt"] == "camel, baseline, frames 00000, 00002, 00005"
    strip = picture(tmp_path / "figures/masks-camel-baseline.png")
    assert strip.shape == (32, 3 * 48 + 2 * 4, 3)
    first, last = strip[:, :48], strip[:, -48:]
    # Frame 0: mask and annotation are the same square, columns 8 to 23. Frame 5: the mask has moved by 5.
    assert (first[8, 8:24] == ANNOTATION_COLOUR).all()
    assert (last[8, 24:29] == COLOUR).all()
    assert abs(first[16, 16].astype(int) - ((1 - OPACITY) * 90 + OPACITY * COLOUR)).max() < 4
    assert abs(last[16, 4].astype(int) - 90).max() < 4


def test_frames_are_shrunk(comparison: Comparison, tmp_path: Path) -> None:
    strips(comparison, tmp_path / "figures", sequences=1, frames=1, width=24)
    assert picture(tmp_path / "figures/masks-camel-baseline.png").shape == (16, 24, 3)


def test_what_is_not_on_disk_is_left_out(comparison: Comparison, davis: Path, tmp_path: Path) -> None:
    (davis / "JPEGImages/480p/camel").rename(davis / "elsewhere")
    gallery = strips(comparison, tmp_path / "figures", sequences=4, frames=1, width=48)
    assert list(gallery.groups) == ["kite", "dog", "bear"]
    (davis / "JPEGImages").rename(davis / "gone")
    assert strips(comparison, tmp_path / "none", sequences=4, frames=1, width=48).groups == {}


def test_frames_and_annotations_are_found_as_the_dataset_has_them(
    make_run: Callable[..., Path], davis: Path, tmp_path: Path
) -> None:
    """Here as `data=folder`: frames may lack an annotation, and are then drawn without one."""
    (davis / "JPEGImages/480p").rename(davis / "frames")
    (davis / "Annotations/480p").rename(davis / "masks")
    (davis / "masks/camel/00005.png").unlink()
    make_run("0", root=davis, dataset="folder", split="all")
    (comparison,) = pool(find_runs([tmp_path / "runs"]))
    gallery = strips(comparison, tmp_path / "figures", sequences=1, frames=2, width=48)
    assert gallery.groups["camel"][0]["alt"] == "camel, full, frames 00000, 00005"
    halves = np.split(picture(tmp_path / "figures/masks-camel-full.png"), [48, 52], axis=1)
    outlines = [(half == ANNOTATION_COLOUR).all(axis=-1).any() for half in halves]
    assert outlines == [True, True, False]  # between them a white gap


def test_a_label_longer_than_a_file_name(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> None:
    """Labels list the settings in which runs differ, and other methods are called what they like."""
    variant = "full (" + ", ".join(f"setting{number}=value{number}" for number in range(30))
    for number in range(2):
        make_run(str(number), variant=f"{variant}, {number})", root=davis)
    (comparison,) = pool(find_runs([tmp_path / "runs"]))
    strips(comparison, tmp_path / "figures", sequences=1, frames=1, width=24)
    names = sorted(path.name for path in (tmp_path / "figures").glob("*.png"))
    assert len(names) == 2
    assert max(map(len, names)) <= 204
    assert all(name.startswith("masks-camel-full_setting0_value0_setting1") for name in names)


@given(st.integers(1, 200), st.integers(1, 12))
def test_evenly_spaced(total: int, count: int) -> None:
    places = evenly_spaced(total, count)
    assert len(places) == min(total, count)
    assert places == sorted(set(places))
    assert places[0] == 0
    assert count == 1 or places[-1] == total - 1
    assert np.ptp(np.diff(places)) <= 1 if len(places) > 2 else True
