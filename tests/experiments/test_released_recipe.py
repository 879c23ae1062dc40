"""The lab book of the next released weights says what the committed evaluations found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "released_recipe"


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.json")))
def test_the_lab_book_has_the_scores(file: str) -> None:
    found = json.loads((FOLDER / file).read_text())
    J, F = (f"{100 * found['mean'][measure]['mean']:.1f}" for measure in "JF")
    (row,) = (line for line in (FOLDER / "README.md").read_text().splitlines() if f"`{file}`" in line)
    assert row.split("|")[-2].strip() == f"{J} / {F}"
