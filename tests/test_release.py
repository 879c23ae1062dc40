"""The release workflow, which nothing here triggers: what it would publish, when, and what stops it."""

from __future__ import annotations

import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from adnet import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def workflow() -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())


def test_a_tag_of_a_version_alone_starts_it(workflow: Any) -> None:
    ((event, condition),) = workflow[True].items()  # YAML 1.1 reads `on` as true
    assert event == "push"
    assert list(condition) == ["tags"]
    (pattern,) = condition["tags"]
    assert fnmatchcase("v1.2.3", pattern.replace("+", ""))
    assert not fnmatchcase("1.2.3", pattern.replace("+", ""))


def test_only_what_was_tested_and_built_is_published_without_a_password(workflow: Any) -> None:
    publish = workflow["jobs"]["publish"]
    assert set(publish["needs"]) == {"test", "build"} == set(workflow["jobs"]) - {"publish"}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "release"
    assert [step["uses"].partition("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


@pytest.mark.parametrize(
    ("tag", "heading", "says"),
    [
        (f"v{__version__}", __version__, ""),
        ("v99.0.0", __version__, f"the tag is v99.0.0, the version {__version__}\n"),
        (f"v{__version__}", "Unreleased", f"CHANGELOG.md has no heading '## {__version__}'\n"),
    ],
)
def test_a_tag_of_another_version_stops_it(tag: str, heading: str, says: str, workflow: Any, tmp_path: Path) -> None:
    (guard,) = (
        step["run"] for step in workflow["jobs"]["build"]["steps"] if step.get("name", "").startswith("The tag")
    )
    (tmp_path / "src" / "adnet").mkdir(parents=True)
    (tmp_path / "src" / "adnet" / "__init__.py").write_text((ROOT / "src" / "adnet" / "__init__.py").read_text())
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading}\n")
    environment = os.environ | {"GITHUB_REF_NAME": tag}
    ended = subprocess.run(
        ["bash", "-e", "-c", guard], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1 if says else 0, says)
