"""The lab book of the next released weights says what the committed evaluation found."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "experiments" / "released_recipe"


def test_the_lab_book_has_the_scores() -> None:
    found = json.loads((FOLDER / "duts_3600.json").read_text())
    J, F = (f"{100 * found['mean'][measure]['mean']:.1f}" for measure in "JF")
    (row,) = (line for line in (FOLDER / "README.md").read_text().splitlines() if "`duts_3600.json`" in line)
    assert row.split("|")[-2].strip() == f"{J} / {F}"
