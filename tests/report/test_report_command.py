"""`python -m adnet.report` as a user types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def report(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adnet.report", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_page_and_scores_are_printed(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("a", variant="baseline", seed=1)
    make_run("b", initial={"J": 0.123, "F": 0.05})
    result = report("runs=[runs/a,runs/b]", "output=out/report", "title=Mine", folder=tmp_path)
    assert result.stdout.splitlines() == [
        "out/report/index.html",
        "baseline seed 1: J 65.0, F 55.0  (runs/a)",
        "full seed 0: J 12.3 -> 65.0, F 5.0 -> 55.0  (runs/b)",
    ], result.stderr
    assert "<h1>Mine</h1>" in (tmp_path / "out/report/index.html").read_text()


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    result = report("runs=nowhere", folder=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "runs=nowhere: there is no such folder" in line
    assert list(tmp_path.iterdir()) == []
