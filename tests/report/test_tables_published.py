"""Measured rows stand below the published ones of Tables 2 and 3, where they may be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adnet.report.analysis.pooling import pool
from adnet.report.read import find_runs
from adnet.report.table import Table, Value
from adnet.report.tables import comparison_table, convention_table, mean_saliency, saliency_table


def column(table: Table | None, title: str) -> list[Value]:
    assert table is not None
    index = [column.flat_title for column in table.columns].index(title)
    return [row[index] for row in table.rows]


def on(dataset: str, count: int) -> dict[str, object]:
    """Options of a run that is scored on `count` sequences."""
    names = tuple(f"s{index:02d}" for index in range(count))
    return {"dataset": dataset, "sequences": names, "scores": tuple(0.5 + index / 100 for index in range(count))}


def test_table2_has_ours_below_marked(make_run: Callable[..., Path]) -> None:
    run = make_run("0", variant="full", **on("davis2016", 20))
    table = comparison_table(pool(find_runs([run]))[0])
    assert len(column(table, "Method")) == 18
    assert column(table, "Method")[-1] == "full"
    assert column(table, "Source") == ["published"] * 17 + ["measured"]
    assert column(table, "DAVIS J")[-1] == pytest.approx(59.5)
    assert column(table, "FBMS F-measure")[-3:] == [81.2, None, None]


def test_table2_needs_the_very_same_comparison(make_run: Callable[..., Path]) -> None:
    assert comparison_table(pool(find_runs([make_run("1")]))[0]) is None
    other = make_run("2", split="train", **on("davis2016", 20))
    assert comparison_table(pool(find_runs([other]))[0]) is None


def test_fbms_comes_from_the_same_row_and_protocol(make_enriched_run: Callable[..., Path], tmp_path: Path) -> None:
    make_enriched_run("0", **on("davis2016", 20))
    make_enriched_run("1", split="test", **on("fbms", 30))
    found = pool(find_runs([tmp_path / "runs"]))
    davis = next(comparison for comparison in found if comparison.dataset == "davis2016")
    assert column(comparison_table(davis, found), "FBMS F-measure")[-1] == pytest.approx(75)


def test_table3_has_every_published_row_and_ours_of_each_dataset(
    make_enriched_run: Callable[..., Path], tmp_path: Path
) -> None:
    make_enriched_run("0", **on("davis2016", 20))
    make_enriched_run("1", split="test", **on("visal", 17))
    make_enriched_run("2", variant="baseline", **on("davis2016", 20))
    table = saliency_table(pool(find_runs([tmp_path / "runs"])))
    assert column(table, "Source") == ["published"] * 19 + ["measured"] * 2
    assert column(table, "Method")[-3:] == ["AD-Net", "baseline", "full"]
    assert column(table, "DAVIS MAE")[-3:] == pytest.approx([0.044, 0.05, 0.05])
    assert column(table, "DAVIS F-measure")[-3:] == pytest.approx([80.8, 75, 75])
    assert column(table, "FBMS MAE")[-3:] == [0.064, None, None]
    assert column(table, "ViSal MAE")[-3:] == [0.030, None, 0.05]
    assert table is not None
    assert "convention pooled" in table.caption
    # The lowest error and the highest F of each column, among all rows.
    bold = [(row[0].text, cell.text) for row in table.cells() for cell in row if cell.bold]
    assert ("SRM", "0.039") in bold
    assert ("AD-Net", "80.8") in bold


def test_table3_needs_saliency_on_a_whole_comparison(
    make_run: Callable[..., Path], make_enriched_run: Callable[..., Path]
) -> None:
    assert saliency_table(pool(find_runs([make_run("0", **on("davis2016", 20))]))) is None
    assert saliency_table(pool(find_runs([make_enriched_run("1")]))) is None


def test_rows_of_several_protocols_are_told_apart(make_enriched_run: Callable[..., Path], tmp_path: Path) -> None:
    for protocol in ("paper", "published"):
        make_enriched_run(protocol, protocol=protocol, **on("davis2016", 20))
    table = saliency_table(pool(find_runs([tmp_path / "runs"])))
    assert column(table, "Method")[-2:] == ["full, protocol paper", "full, protocol published"]


def test_both_conventions_are_listed(make_enriched_run: Callable[..., Path]) -> None:
    table = convention_table(pool(find_runs([make_enriched_run("0")]))[0])
    assert table is not None
    assert table.rows == (("full", 0.05, 75.0, 0.06, 70.0, 65.0),)


def test_no_probability_maps_no_saliency(make_run: Callable[..., Path]) -> None:
    (comparison,) = pool(find_runs([make_run("0")]))
    assert convention_table(comparison) is None
    assert mean_saliency(comparison.results[0], "pooled") == {}


def test_seeds_are_averaged(make_enriched_run: Callable[..., Path], tmp_path: Path) -> None:
    for seed, mae in enumerate(("0.04", "0.08")):
        (file,) = make_enriched_run(str(seed), seed=seed).glob("evaluation/*/scores.json")
        file.write_text(file.read_text().replace('"MAE": 0.05', f'"MAE": {mae}'))
    ((result,),) = (comparison.results for comparison in pool(find_runs([tmp_path / "runs"])))
    assert mean_saliency(result, "pooled")["MAE"] == pytest.approx(0.06)
    np.testing.assert_allclose(mean_saliency(result, "pooled")["recall"], np.linspace(0, 1, 256))
