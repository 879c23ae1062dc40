from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from adnet.shared import machine as provenance


def test_commit_is_that_of_the_checkout() -> None:
    commit = provenance.git_commit()
    here = Path(provenance.__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    if head.returncode:
        assert commit is None
    else:
        assert commit is not None
        assert re.fullmatch(rf"{head.stdout.strip()}(-dirty)?", commit)


def test_no_commit_outside_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit() is None


def test_no_commit_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() is None


def test_versions_name_what_a_result_depends_on() -> None:
    versions = provenance.versions()
    assert {"python", "adnet", "torch", "timm"} <= set(versions)
    assert all(re.match(r"\d+\.\d+", version) for version in versions.values())
