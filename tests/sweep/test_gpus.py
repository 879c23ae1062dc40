from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from adnet.errors import UserError
from adnet.sweep import gpus
from adnet.sweep.gpus import reserved


class WaitedError(Exception):
    pass


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    def wait(_: float) -> None:
        raise WaitedError

    monkeypatch.setattr(gpus, "FOLDER", tmp_path / "gpus")
    monkeypatch.setattr(gpus.time, "sleep", wait)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no nvidia-smi
    before = os.umask(0o077)
    yield tmp_path / "gpus"
    os.umask(before)


def test_no_gpu_is_held_twice() -> None:
    with reserved(1) as first, reserved(2) as second:
        assert first.environment == {"CUDA_VISIBLE_DEVICES": "0"}
        assert second.environment == {"CUDA_VISIBLE_DEVICES": "3,5"}
        with pytest.raises(WaitedError), reserved(1):
            pass
    with reserved(9) as all_of_them:
        assert all_of_them.environment == {"CUDA_VISIBLE_DEVICES": "0,3,5"}


def test_a_gpu_is_held_while_a_process_lives_that_inherited_it() -> None:
    with reserved(3) as held:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held.locks)
    try:
        with pytest.raises(WaitedError), reserved(1):
            pass
    finally:
        process.kill()
        process.communicate()
    with reserved(3):
        pass


def test_all_users_share_the_locks(folder: Path) -> None:
    """Whatever the umask: the folder is as /tmp is, and its files can be opened, and not written, by all."""
    with reserved(1):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
        assert stat.S_IMODE((folder / "0").stat().st_mode) == 0o444
    assert os.umask(0o077) == 0o077


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    folder.symlink_to(tmp_path)
    with pytest.raises(UserError, match="is not the folder of the GPUs' locks"), reserved(1):
        pass


def test_a_lock_is_the_gpu_s_and_not_its_number_s(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two Slurm jobs each have a GPU 0, which need not be the same one."""
    tool = tmp_path / "nvidia-smi"
    for uuid in ("GPU-a", "GPU-b"):
        tool.write_text(f"#!/bin/sh\necho 0, {uuid}\n")
        tool.chmod(0o755)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with reserved(1) as held:
            assert held.environment == {"CUDA_VISIBLE_DEVICES": "0"}
    assert {path.name for path in folder.iterdir()} == {"GPU-a", "GPU-b"}


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_gpus_nothing_changes(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with reserved(1) as held:
        assert held == ({}, ())


def test_by_default_a_job_sees_what_we_see() -> None:
    with reserved(None) as held:
        assert held == ({}, ())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,3,5"


@pytest.mark.parametrize("shell", [None, "", "1,2"])
def test_submitit_does_not_hide_the_gpus(shell: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import submitit

    def seen_by_a_job() -> tuple[str | None, str | None]:
        from adnet.sweep.gpus import undo_hiding

        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        undo_hiding()
        return before, os.environ.get("CUDA_VISIBLE_DEVICES")

    monkeypatch.setattr(gpus.time, "sleep", sleep)
    if shell is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shell)
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setenv("ADNET_CUDA_VISIBLE_DEVICES", "what another sweep left")
    gpus.tell_jobs_the_gpus()
    executor = submitit.LocalExecutor(tmp_path / "jobs")
    assert executor.submit(seen_by_a_job).result() == ("", shell)
    executor.update_parameters(gpus_per_node=2)  # then submitit says which
    assert executor.submit(seen_by_a_job).result() == ("0,1", "0,1")
