from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adnet.benchmark import metrics
from adnet.benchmark.__main__ import main
from adnet.data import read_mask, write_mask

Run = Callable[..., Any]


@pytest.fixture
def benchmark(run: Run, tiny_davis: Path) -> Run:
    return lambda *more: run(main, "what=metrics", f"data.root={tiny_davis}", "metrics.rounds=1", *more)


def test_both_ways_are_timed_and_agree(benchmark: Run) -> None:
    ended = benchmark("metrics.frames=3", "output=speed.json")
    assert ended.code == 0, ended.err
    measured = json.loads(Path("speed.json").read_text())
    assert (measured["dataset"], measured["frames"], measured["sizes"]) == ("davis2016", 3, [[64, 112]])
    assert measured["largest_difference"] <= 1e-9
    speeds = measured["frames_per_second"]
    memory, files = speeds.values()
    assert measured["ratio"] == pytest.approx(memory["adnet"] / memory["published way"])
    assert "1 core" in files
    for name, speed in (*memory.items(), *files.items()):
        assert speed > 0
        assert f"{name:<14} {speed:8.1f} frames/s" in ended.out


def test_given_predictions_are_used(benchmark: Run, tiny_davis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[np.ndarray] = []
    ours = metrics._ours
    monkeypatch.setattr(metrics, "_ours", lambda mask, annotation: masks.append(mask) or ours(mask, annotation))
    annotations = sorted((tiny_davis / "Annotations" / "480p").glob("val-*/*.png"))
    for path in annotations:
        write_mask(tiny_davis / "predictions" / path.parent.name / path.name, ~read_mask(path))
    ended = benchmark("metrics.frames=4", f"metrics.predictions={tiny_davis / 'predictions'}")
    assert ended.code == 0, ended.err
    inner = [path for path in annotations if path.stem in ("00001", "00002")]
    np.testing.assert_array_equal(masks, [~read_mask(path) for path in inner])


def test_a_wrong_result_is_not_timed(benchmark: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_published", lambda *_: (0.5, 0.5))
    with pytest.raises(RuntimeError, match=r"the two ways differ by 0\.\d+"):
        benchmark("metrics.frames=2", "output=speed.json")
    assert not Path("speed.json").exists()


@pytest.mark.parametrize(
    ("frames", "mistake"), [(0, "expected a whole number of at least 1"), (5, "davis2016 val has 4 scored frames")]
)
def test_more_frames_than_there_are(benchmark: Run, frames: int, mistake: str) -> None:
    ended = benchmark(f"metrics.frames={frames}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert f"metrics.frames={frames}: {mistake}" in ended.err


def test_a_missing_prediction_is_named(benchmark: Run) -> None:
    assert "no nowhere/val-000/00001.png" in benchmark("metrics.frames=2", "metrics.predictions=nowhere").err
