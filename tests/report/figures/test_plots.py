"""Figures hold the numbers that they are said to show."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from adnet.report.analysis.pooling import hardest_first, pool
from adnet.report.figures.plot import colours
from adnet.report.figures.plots import (
    attribute_plot,
    score_plot,
    sequence_plot,
    smoothed,
    training_plot,
)
from adnet.report.read import find_runs


@pytest.fixture
def folder(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    make_run("0", variant="baseline", scores=(0.8, 0.3, 0.7, 0.5))
    make_run("1", variant="full", scores=(0.9, 0.4, 0.8, 0.2))
    return tmp_path / "runs"


def test_score_plot(folder: Path) -> None:
    plot = score_plot(pool(find_runs([folder]))[0])
    left, right = plot.figure.axes
    assert [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"] == pytest.approx([57.5, 57.5])
    assert [line.get_xdata()[0] for line in right.lines if line.get_marker() == "D"] == [75.58, 77.11]
    assert plot.rows[0][:3] == ("baseline", "J", 57.5)
    assert plot.rows[1][-1] == 78.26


def test_sequences_are_sorted_by_difficulty(folder: Path) -> None:
    (comparison,) = pool(find_runs([folder]))
    assert [comparison.sequences[index] for index in hardest_first(comparison)] == ["camel", "kite", "dog", "bear"]
    plot = sequence_plot(comparison)
    assert [label.get_text() for label in plot.figure.axes[-1].get_xticklabels()] == ["camel", "kite", "dog", "bear"]
    heights = [bar.get_height() for bar in plot.figure.axes[1].patches]
    assert heights == pytest.approx([40, 20, 80, 90, 30, 10, 70, 80])
    assert plot.rows[0] == ("camel", "baseline", 30.0, 20.0)


def test_attributes_have_a_bar_per_variant(two_runs: Path) -> None:
    plot = attribute_plot(pool(find_runs([two_runs]))[0])
    assert plot is not None
    # OCC: of its sequences one is scored here.
    assert plot.rows[:2] == [("FM", 2, "baseline", "J", 75.0), ("OCC", 1, "baseline", "J", 50.0)]
    heights = [bar.get_height() for bar in plot.figure.axes[0].patches]
    assert heights == pytest.approx([75, 50, 80, 60])
    assert [label.get_text() for label in plot.figure.axes[1].get_xticklabels()] == ["FM\n2", "OCC\n1"]


def test_no_attributes_no_attribute_plot(folder: Path) -> None:
    assert attribute_plot(pool(find_runs([folder]))[0]) is None


def test_training_plot_has_a_panel_per_metric_and_a_line_per_run(folder: Path) -> None:
    plot = training_plot(find_runs([folder]))
    assert plot is not None
    assert [axes.get_title(loc="left") for axes in plot.figure.axes] == [
        "Training loss",
        "Learning rate",
        "Validation J (%)",
    ]
    rate = plot.figure.axes[1]
    assert [line.get_color() for line in rate.lines] == list(colours({"baseline": "baseline", "full": "full"}).values())
    assert rate.lines[0].get_ydata().tolist() == [0.005, 0.004, 0.003]
    assert plot.figure.axes[2].lines[0].get_ydata().tolist() == pytest.approx([31])
    assert ("full", 0, "train/loss", 50.0, 0.5) in plot.rows


def test_no_metrics_no_training_plot(folder: Path) -> None:
    for file in folder.rglob("metrics.csv"):
        file.unlink()
    assert training_plot(find_runs([folder])) is None


def test_a_plot_is_saved_as_png_and_csv_and_returned_as_svg(folder: Path, tmp_path: Path) -> None:
    (comparison,) = pool(find_runs([folder]))
    plot = score_plot(comparison)
    svg = plot.save(tmp_path / "figures")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    with Image.open(tmp_path / "figures/scores.png") as image:
        assert image.width == 1600
    with (tmp_path / "figures/scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    assert rows[0]["variant"] == "baseline"
    assert score_plot(comparison).save(tmp_path / "again") == svg


def test_smoothing_keeps_constants_and_means() -> None:
    np.testing.assert_allclose(smoothed(np.full(100, 3.0)), 3)
    ramp = np.arange(200.0)
    np.testing.assert_allclose(smoothed(ramp)[10:-10], ramp[10:-10])
    np.testing.assert_allclose(smoothed(np.array([1.0, 5.0])), [1, 5])


def test_a_variant_keeps_its_colour() -> None:
    alone = colours({"full": "full"})["full"]
    assert colours({"x": "mine", "baseline": "baseline", "full (lr=1)": "full"})["full (lr=1)"] == alone


def test_colours_are_distinct_while_they_last() -> None:
    rows = {name: name for name in ("baseline", "intra", "anchor", "anchor_diffusion", "full")}
    rows |= {"full (lr=1)": "full", "x": "mine", "y": "mine"}
    assert len(set(colours(rows).values())) == 8
    assert len(colours({f"v{index}": "mine" for index in range(20)})) == 20
