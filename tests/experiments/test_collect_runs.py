from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adnet.errors import UserError


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("collect_runs.py")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "full+seed-0"
    for name in ("summary.json", "metrics.csv", "log.txt", "checkpoints/last.ckpt", "evaluation/paper/scores.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    names = ["bear", *(f"duts/{number}" for number in range(1000))]
    data = {"train": {"sequences": names, "sha256": "0"}, "val": {"sequences": ["a/b"]}}
    (folder / "summary.json").write_text(json.dumps({"J": 0.5, "data": data}))
    (folder / "config.yaml").write_text(f"run_dir: {folder}\ncache: {Path.home()}/.cache/adnet/flow\nseed: 0\n")
    (tmp_path / "runs" / "begun").mkdir()
    (tmp_path / "runs" / "begun" / "config.yaml").write_text("seed: 1\n")
    return tmp_path / "runs"


def test_what_a_report_reads_is_copied(script: Any, runs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert script.collect(runs, kept) == [kept / "full+seed-0"]
    summary = json.loads((kept / "full+seed-0" / "summary.json").read_text())
    (kept / "full+seed-0" / "summary.json").unlink()
    assert summary["data"] == {"train": {"sequences": ["bear"], "sha256": "0"}, "val": {"sequences": ["a/b"]}}
    files = {path.relative_to(kept).as_posix(): path.read_text() for path in kept.rglob("*") if path.is_file()}
    assert files == {
        "full+seed-0/config.yaml": "run_dir: runs/full+seed-0\ncache: ~/.cache/adnet/flow\nseed: 0\n",
        "full+seed-0/metrics.csv": "metrics.csv",
        "full+seed-0/evaluation/paper/scores.json": "evaluation/paper/scores.json",
    }


def test_a_full_disk_is_one_line(
    script: Any, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, _: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(script, "write_text", full)
    monkeypatch.setattr(sys, "argv", ["collect_runs.py", str(runs), "kept"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    said = "adnet: cannot read or write kept/full+seed-0/config.yaml: No space left on device\n"
    assert (ended.value.code, capsys.readouterr().err) == (1, said)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda run: (run / "config.yaml").write_text("root: /elsewhere/DAVIS\n"),
        lambda run: (run / "summary.json").unlink(),
    ],
)
def test_nothing_is_copied_by_halves(script: Any, runs: Path, tmp_path: Path, spoil: Callable[[Path], Any]) -> None:
    spoil(runs / "full+seed-0")
    with pytest.raises(UserError, match=r"names a place of this machine|no finished run"):
        script.collect(runs, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
