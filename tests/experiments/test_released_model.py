"""The tables of the released weights say what the evaluations in `experiments/beyond` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BEYOND = ROOT / "experiments" / "beyond"


def scores(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((BEYOND / name).read_text())
    return content


def percent(means: dict[str, Any]) -> list[str]:
    return [f"{100 * means[measure]['mean']:.1f}" for measure in "JF"]


def rows(page: Path) -> list[list[str]]:
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page.read_text().splitlines()
        if line.startswith("|")
    ]


def test_each_sequence_has_its_scores() -> None:
    with_flow, without = scores("released.json"), scores("released_no_flow.json")
    expected = [
        [name, *percent(means), *percent(without["sequences"][name])] for name, means in with_flow["sequences"].items()
    ]
    expected.append(["mean", *percent(with_flow["mean"]), *percent(without["mean"])])
    table = rows(ROOT / "docs" / "released_model.md")
    assert [row for row in expected if row not in table] == []


@pytest.mark.parametrize("file", sorted(path.name for path in BEYOND.glob("released*.json")))
def test_the_page_of_the_experiment_has_the_mean(file: str) -> None:
    (row,) = (row for row in rows(BEYOND / "README.md") if row[-1] == file)
    assert row[1:3] == percent(scores(file)["mean"])


def test_the_readme_has_both_protocols() -> None:
    table = rows(ROOT / "README.md")
    for name in ("released.json", "released_multi_scale.json"):
        assert any(row[-2:] == percent(scores(name)["mean"]) for row in table)


@pytest.mark.parametrize("file", ["ecssd.json", "duts_te.json"])
def test_the_page_has_the_stills(file: str) -> None:
    found = scores(file)["saliency"]["per_frame"]
    expected = f"max F {100 * found['F_max']:.1f}, MAE {found['MAE']:.3f}, S {100 * found['S']:.1f}"
    assert expected in (ROOT / "docs" / "released_model.md").read_text()
