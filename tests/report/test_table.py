"""One table, four forms."""

from __future__ import annotations

import csv
import io

import pytest

from adnet.report.analysis.statistics import Interval
from adnet.report.table import DASH, Cell, Column, Table, to_csv, to_latex, to_markdown

TABLE = Table(
    "demo",
    "Scores of 5 % & more.",
    (
        Column("Variant"),
        Column("mean", "J", digits=1, best="max"),
        Column("95 % interval", "J", digits=1),
        Column("decay", "J", digits=1, best="min"),
        Column("p", digits=3, probability=True),
        Column("change", digits=1, signed=True),
    ),
    (
        ("anchor_diffusion", 75.26, Interval(75.26, 70.04, 80.0), 4.0, 0.0001, -0.2),
        ("a|b", 71.0, Interval(71.0, float("nan"), float("nan")), 3.0, 0.25, 1.5),
        ("none", None, None, None, None, -0.01),
    ),
)


def test_cells() -> None:
    texts = [[cell.text for cell in row] for row in TABLE.cells()]
    assert texts == [
        ["anchor_diffusion", "75.3", "[70.0, 80.0]", "4.0", "<0.001", "\N{MINUS SIGN}0.2"],
        ["a|b", "71.0", DASH, "3.0", "0.250", "+1.5"],
        ["none", DASH, DASH, DASH, DASH, "0.0"],
    ]


def test_the_best_is_bold() -> None:
    assert [[cell.text for cell in row if cell.bold] for row in TABLE.cells()] == [["75.3"], ["3.0"], []]


def test_nothing_is_best_where_all_print_the_same() -> None:
    table = Table("t", "", (Column("J", digits=1, best="max"),), ((70.01,), (70.02,)))
    assert table.cells() == [[Cell("70.0", False)], [Cell("70.0", False)]]


def test_what_prints_like_the_best_is_bold_too() -> None:
    table = Table("t", "", (Column("J", digits=1, best="max"),), ((70.01,), (70.02,), (60.0,)))
    assert [row[0].bold for row in table.cells()] == [True, True, False]


def test_header_spans() -> None:
    assert TABLE.header() == [("", 1), ("J", 3), ("", 2)]
    assert [TABLE.column_class(index) for index in range(4)] == ["", "number edge", "number interval", "number"]
    assert TABLE.column_class(4) == "number edge"


def test_markdown_lines_up() -> None:
    caption, _, header, rule, *body = to_markdown(TABLE).splitlines()
    assert caption == TABLE.caption
    assert len({len(line) for line in (header, rule, *body)}) == 1
    assert header.split("|")[2].strip() == "J mean"
    assert rule.split("|")[1].strip().strip("-") == ""
    assert rule.split("|")[2].strip().endswith("-:")
    assert "**75.3**" in body[0]
    assert r"a\|b" in body[1]


def test_csv_has_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TABLE))))
    assert rows[0] == {
        "Variant": "anchor_diffusion",
        "J mean": "75.26",
        "J 95 % interval low": "70.04",
        "J 95 % interval high": "80.0",
        "J decay": "4.0",
        "p": "0.0001",
        "change": "-0.2",
    }
    assert rows[1]["J 95 % interval low"] == ""
    assert rows[2]["J mean"] == ""


def test_latex() -> None:
    text = to_latex(TABLE)
    assert r"\caption{Scores of 5 \% \& more.}" in text
    assert r"\begin{tabular}{lrrrrr}" in text
    assert r"\multicolumn{1}{c}{} & \multicolumn{3}{c}{$\mathcal{J}$} & \multicolumn{2}{c}{} \\" in text
    assert r"\cmidrule(lr){2-4}" in text
    assert r"anchor\_diffusion & \textbf{75.3} & [70.0, 80.0] & 4.0 & $<$0.001 & $-$0.2 \\" in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("form", [to_markdown, to_csv, to_latex])
def test_a_table_may_have_one_column_and_no_rows(form: object) -> None:
    assert "Variant" in form(Table("t", "", (Column("Variant"),), ()))  # type: ignore[operator]
