"""Figures 3 and 4 hold the numbers of the score files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adnet.report.analysis.pooling import Comparison, pool
from adnet.report.figures.plots import drift_plot, drift_sequences, mean_drift, precision_recall_plot
from adnet.report.read import find_runs


@pytest.fixture
def comparison(two_runs: Path) -> Comparison:
    return pool(find_runs([two_runs]))[0]


def test_precision_recall_in_both_conventions(comparison: Comparison) -> None:
    plot = precision_recall_plot(comparison)
    assert plot is not None
    assert [axes.get_title(loc="left") for axes in plot.figure.axes] == ["pooled", "per_frame"]
    for axes in plot.figure.axes:
        assert len(axes.lines) == 2
        # The first point, recall 0, is left out: no pixel lies above the threshold there.
        np.testing.assert_allclose(axes.lines[0].get_xdata(), 100 * np.linspace(0, 1, 256)[1:])
        np.testing.assert_allclose(axes.lines[0].get_ydata()[-1], 50)
    assert [text.get_text() for text in plot.figure.axes[0].get_legend().get_texts()] == [
        "baseline (max F 75.0)",
        "full (max F 75.0)",
    ]
    assert plot.rows[0] == ("baseline", "pooled", 255, 0.0, 100.0)
    assert plot.rows[255] == ("baseline", "pooled", 0, 100.0, 50.0)
    assert len(plot.rows) == 4 * 256


def test_drift_is_the_mean_over_sequences_per_frame(comparison: Comparison) -> None:
    plot = drift_plot(comparison)
    assert plot is not None
    assert [line.get_label() for line in plot.figure.axes[0].lines] == ["baseline", "full"]
    # The frame without foreground is no point of the curve.
    assert plot.figure.axes[0].lines[0].get_xdata().tolist() == [0, 1, 3, 4, 5]
    np.testing.assert_allclose(plot.figure.axes[0].lines[0].get_ydata(), [0.1, 0.2, 0.3, 0.4, 0.5])
    assert plot.rows[1] == ("baseline", 1, 2, 0.2, 0.2, 0.2)


def test_drift_ends_where_most_sequences_have_ended(make_enriched_run: Callable[..., Path]) -> None:
    run = make_enriched_run("0")
    (file,) = run.glob("evaluation/*/embeddings.json")
    curves = {"a": [0.1] * 4, "b": [0.3] * 6, "c": [0.5] * 9, "gone": [None, None]}
    sequences = {name: {"distance": curve} for name, curve in curves.items()}
    file.write_text(json.dumps({"sequences": sequences}))
    (comparison,) = pool(find_runs([run]))
    names = sorted(drift_sequences(comparison.results[0]))
    drift = mean_drift(comparison.results[0], names)
    assert np.isfinite(drift).sum(axis=1).tolist() == [4, 6, 9]
    plot = drift_plot(comparison)
    assert plot is not None
    assert [row[2] for row in plot.rows] == [3, 3, 3, 3, 2, 2]
    np.testing.assert_allclose(plot.figure.axes[0].lines[0].get_ydata(), [0.3] * 4 + [0.4] * 2)


def test_variants_are_compared_on_the_sequences_that_all_have(two_runs: Path, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(two_runs, tmp_path / "runs"))
    file = next((runs / "0").glob("evaluation/*/embeddings.json"))
    sequences = json.loads(file.read_text())["sequences"]
    file.write_text(json.dumps({"sequences": {"camel": sequences["camel"]}}))
    plot = drift_plot(pool(find_runs([runs]))[0])
    assert plot is not None
    assert {(row[0], row[2]) for row in plot.rows} == {("baseline", 1), ("full", 1)}
    assert "1 of 4, the same for each variant" in plot.caption


def test_nothing_measured_nothing_drawn(make_run: Callable[..., Path]) -> None:
    (comparison,) = pool(find_runs([make_run("0")]))
    assert precision_recall_plot(comparison) is None
    assert drift_plot(comparison) is None
