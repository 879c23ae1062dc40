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


def test_the_newest_of_everything_is_tried_in_the_newest_python_and_may_fail() -> None:
    workflows = [
        yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text()) for name in ("ci", "newest")
    ]
    rows = workflows[0]["jobs"]["run"]["strategy"]["matrix"]["python"]
    newest = workflows[1]["jobs"]["test"]
    assert newest["continue-on-error"] is True
    assert {"schedule", "workflow_dispatch"} == set(workflows[1][True])  # `on`, as YAML reads it
    (python,) = (step["with"]["python-version"] for step in newest["steps"] if "with" in step)
    assert python == rows[-1]
    assert not any("constraint" in step.get("run", "") for step in newest["steps"])


def test_the_readme_says_what_was_run() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert "adnet has been run with Python 3.11, 3.12 and 3.13 on Linux (x86-64;" in text
    assert "On Windows, `score`, `predict`, `evaluate` and `report` should work" in text
