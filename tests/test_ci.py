"""The workflow that tests each commit: on which systems and versions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]


def test_every_version_that_is_claimed_has_a_row_and_macos_too() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["run"]["strategy"]["matrix"]
    rows = {*product(matrix["system"], matrix["python"])}
    rows |= {(row["system"], row["python"]) for row in matrix["include"]}
    (line,) = (
        line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("requires-python")
    )
    claimed = SpecifierSet(line.split('"')[1])
    minors = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in claimed]
    assert {python for _, python in rows} == {*minors}
    assert {"3.11", "3.13"} <= {python for system, python in rows if system.startswith("ubuntu")}
    assert any(system.startswith("macos") for system, _ in rows)


def test_the_readme_says_what_was_run() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "adnet has been run with Python 3.11 on Linux (x86-64)" in text
    assert "On Windows, `score`, `predict`, `evaluate` and `report` should work" in text
