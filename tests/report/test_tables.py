"""What the tables of the report say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adnet.report.analysis.pooling import pool
from adnet.report.read import find_runs
from adnet.report.table import Table, Value
from adnet.report.tables import difference_table, duration, run_table, score_table


def column(table: Table, title: str) -> list[Value]:
    index = [column.flat_title for column in table.columns].index(title)
    return [row[index] for row in table.rows]


@pytest.fixture
def two(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    make_run("0", variant="baseline", scores=(0.8, 0.3, 0.7, 0.5))
    make_run("1", variant="full", scores=(0.9, 0.4, 0.8, 0.6))
    return tmp_path


def test_score_table(two: Path) -> None:
    (comparison,) = pool(find_runs([two]))
    table = score_table(comparison)
    assert column(table, "Variant") == ["baseline", "full"]
    assert column(table, "J mean") == pytest.approx([57.5, 67.5])
    assert column(table, "F mean") == pytest.approx([47.5, 57.5])
    assert column(table, "J recall") == pytest.approx([50, 75])
    assert column(table, "J decay") == pytest.approx([2, 2])
    assert column(table, "J Δ") == pytest.approx([0, 10])
    for interval, mean in zip(column(table, "J 95 % interval"), (57.5, 67.5), strict=True):
        assert 30 <= interval.low < mean < interval.high <= 90  # type: ignore[union-attr]


def test_published_numbers_stand_beside_davis_and_say_what_they_are(two: Path) -> None:
    table = score_table(pool(find_runs([two]))[0])
    assert column(table, "published J") == [75.41, 78.26]
    assert column(table, "published ΔF") == pytest.approx([0, 1.53])
    assert "DAVIS-2016 val, 20 sequences; ResNet-101" in table.caption


def test_published_numbers_stay_away_from_other_datasets(make_run: Callable[..., Path]) -> None:
    table = score_table(pool(find_runs([make_run("0", dataset="fbms")]))[0])
    assert not any("published" in column.group for column in table.columns)
    assert "Published" not in table.caption


def test_no_difference_without_a_baseline(make_run: Callable[..., Path]) -> None:
    table = score_table(pool(find_runs([make_run("0", variant="mine")]))[0])
    assert not any("Δ" in column.title for column in table.columns)
    assert column(table, "published J") == [None]


def test_difference_table(two: Path) -> None:
    (comparison,) = pool(find_runs([two]))
    table = difference_table(comparison)
    assert column(table, "Comparison") == ["full \N{MINUS SIGN} baseline"]
    assert column(table, "J Δ") == pytest.approx([10])
    assert column(table, "J p") == pytest.approx([2 / 2**4])
    assert column(table, "J p (Holm)") == column(table, "J p")


def test_every_pair_is_compared(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for variant in ("baseline", "anchor", "full"):
        make_run(variant, variant=variant)
    table = difference_table(pool(find_runs([tmp_path]))[0])
    pairs = [str(pair).split(" \N{MINUS SIGN} ") for pair in column(table, "Comparison")]
    assert pairs == [["anchor", "baseline"], ["full", "baseline"], ["full", "anchor"]]
    assert column(table, "J p (Holm)") == [1, 1, 1]


@pytest.mark.parametrize(("baseline", "reference"), [(True, "baseline"), (False, "full (rate=5)")])
def test_many_rows_are_compared_with_one(
    make_run: Callable[..., Path], tmp_path: Path, baseline: bool, reference: str
) -> None:
    if baseline:
        make_run("baseline", variant="baseline")
    for rate in range(7):
        make_run(str(rate), config={"rate": rate}, scores=(0.9, 0.4, 0.7, 0.9 if rate == 5 else 0.6))
    table = difference_table(pool(find_runs([tmp_path]))[0])
    assert len(table.rows) == (7 if baseline else 6)
    assert all(str(row[0]).endswith(f" \N{MINUS SIGN} {reference}") for row in table.rows)


def test_run_table(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("b", variant="full", seed=1, initial={"J": 0.12, "F": 0.05})
    make_run("a", variant="full", seed=0)
    make_run("c", variant="baseline")
    table = run_table(find_runs([tmp_path]))
    assert column(table, "Variant") == ["baseline", "full", "full"]
    assert column(table, "Seed") == [0, 0, 1]
    assert column(table, "J before") == [None, None, 12]
    assert column(table, "J after") == pytest.approx([65, 65, 65])
    assert column(table, "Time") == ["13 min"] * 3
    assert column(table, "Commit") == ["0123456789ab"] * 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (119, "119 s"), (754, "13 min"), (7200, "2 h 00 min"), (11100, "3 h 05 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
