from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adnet.data import davis2016


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("instance_pruning/perturbed_detections.py")


def test_pruning_on_synthetic_videos(script: Any, tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    first, again = (script.measure(dataset, tmp_path / name, workers=1) for name in "ab")
    assert first == again  # seeded
    assert set(first["mean"]) == {"clean", "clean-pruned", "distracted", "distracted-pruned"}
    assert (tmp_path / "a" / "detections.json").read_text() == (tmp_path / "b" / "detections.json").read_text()
    mean = first["mean"]
    assert mean["distracted-pruned"]["J"] > mean["distracted"]["J"]


@pytest.mark.slow
def test_pruning_on_davis(script: Any, davis_root: Path, tmp_path: Path) -> None:
    """What the false objects cost comes back nearly whole, and a clean video loses nothing."""
    dataset = davis2016(davis_root, "val", ["blackswan", "breakdance"])
    dataset = replace(dataset, sequences=tuple(replace(each, frames=each.frames[:16]) for each in dataset.sequences))
    for name, row in script.measure(dataset, tmp_path, workers=1)["sequences"].items():
        assert row["distracted"]["J"] < row["clean"]["J"] - 0.05, name
        lost, back = (row[kind]["J"] - row["distracted"]["J"] for kind in ("clean", "distracted-pruned"))
        assert back > 0.8 * lost, name
        assert row["clean-pruned"]["J"] > row["clean"]["J"] - 0.005, name


def test_a_shape_is_placed_at_its_size(script: Any) -> None:
    shape = np.zeros((100, 120), bool)
    shape[10:30, 10:50] = True
    placed = script.placed(shape, 200, np.array([60.0, 50.0]))
    assert abs(placed.sum() - 200) < 40
    rows, columns = np.nonzero(placed)
    assert abs(rows.mean() - 50) < 1
    assert abs(columns.mean() - 60) < 1
    assert not script.placed(np.zeros((4, 4), bool), 9, np.array([1.0, 1.0])).any()
