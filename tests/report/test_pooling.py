"""Which runs share a row, and which may stand in one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adnet.report.pooling import label_runs, pool
from adnet.report.runs import find_runs


def test_seeds_are_pooled(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", seed=0, scores=(0.9, 0.5, 0.7, 0.6))
    make_run("1", seed=1, scores=(0.7, 0.3, 0.7, 0.8), config={"output": "elsewhere", "logger": {"kind": "wandb"}})
    (benchmark,) = pool(find_runs([tmp_path]))
    (result,) = benchmark.results
    assert result.label == "full"
    np.testing.assert_allclose(result.scores["J"]["mean"], [0.8, 0.4, 0.7, 0.7])
    np.testing.assert_allclose(result.over_runs("J"), [0.675, 0.625])
    assert result.mean("J") == pytest.approx(0.65)


def test_other_settings_are_another_row(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", config={"optim": {"lr": 0.005}})
    make_run("1", config={"optim": {"lr": 0.01}})
    make_run("2", config={"optim": {"lr": 0.01}}, seed=1)
    (benchmark,) = pool(find_runs([tmp_path]))
    assert [(result.label, len(result.runs)) for result in benchmark.results] == [
        ("full (optim.lr=0.005)", 1),
        ("full (optim.lr=0.01)", 2),
    ]


def test_rows_follow_the_paper(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for variant in ("mine", "full", "anchor_diffusion", "anchor", "intra", "baseline"):
        make_run(variant, variant=variant)
    runs = find_runs([tmp_path])
    (benchmark,) = pool(runs)
    labels = [result.label for result in benchmark.results]
    assert labels == ["baseline", "intra", "anchor", "anchor_diffusion", "full", "mine"]
    assert benchmark.baseline is benchmark.results[0]
    assert set(label_runs(runs).values()) == set(labels)


def test_two_baselines_are_no_baseline(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", variant="baseline", config={"optim": {"lr": 0.005}})
    make_run("1", variant="baseline", config={"optim": {"lr": 0.01}})
    assert pool(find_runs([tmp_path]))[0].baseline is None


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "fbms"},
        {"split": "train"},
        {"protocol": "published"},
        {"sequences": ("bear", "camel", "dog", "surf")},
    ],
)
def test_what_differs_is_not_compared(make_run: Callable[..., Path], tmp_path: Path, other: dict[str, str]) -> None:
    make_run("0", variant="baseline")
    make_run("1", variant="intra")
    make_run("2", variant="full", **other)
    first, second = pool(find_runs([tmp_path]))
    assert [result.label for result in first.results] == ["baseline", "intra"]
    assert [result.label for result in second.results] == ["full"]


def test_mean_leaves_out_what_is_no_number(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0")
    (benchmark,) = pool(find_runs([tmp_path]))
    decay = benchmark.results[0].scores["J"]["decay"]
    decay[0] = np.nan
    assert benchmark.results[0].mean("J", "decay") == pytest.approx(0.02)
    decay[:] = np.nan
    assert np.isnan(benchmark.results[0].mean("J", "decay"))
