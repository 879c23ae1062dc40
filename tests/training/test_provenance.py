from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from adnet.data import davis2016
from adnet.data.sequence import write_mask
from adnet.training import provenance


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


def test_fingerprint_follows_the_data_and_not_the_place(tiny_davis: Path, tmp_path: Path) -> None:
    first = provenance.fingerprint(davis2016(tiny_davis))
    assert first["sequences"] == ["val-000", "val-001"]
    assert first["frames"] == 8
    copy = Path(shutil.copytree(tiny_davis, tmp_path / "elsewhere"))
    assert provenance.fingerprint(davis2016(copy)) == first
    write_mask(copy / "Annotations" / "480p" / "val-001" / "00003.png", np.eye(64, 112, dtype=bool))
    assert provenance.fingerprint(davis2016(copy))["sha256"] != first["sha256"]
