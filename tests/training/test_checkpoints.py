from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from adnet.errors import UserError
from adnet.training.checkpoints import AtomicCheckpointIO, Checkpoints, requeued
from adnet.training.resume import whole_checkpoint


def saved(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        AtomicCheckpointIO().save_checkpoint({"number": number, "weights": torch.zeros(1000)}, folder / "last.ckpt")
    return folder / "last.ckpt"


def number(file: Path | None) -> int:
    assert file is not None
    return int(torch.load(file, weights_only=True)["number"])


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    assert whole_checkpoint(tmp_path / "checkpoints") is None
    last = saved(tmp_path / "checkpoints", 1)
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    saved(last.parent, 2, 3)
    assert (number(last), number(last.with_name("previous.ckpt"))) == (3, 2)
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert whole_checkpoint(last.parent) == last


def test_other_names_have_no_previous(tmp_path: Path) -> None:
    for n in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"number": n}, tmp_path / "best.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize("damage", ["half", "empty", "flipped", "gone"])
def test_the_one_before_a_damaged_one_is_taken(tmp_path: Path, damage: str) -> None:
    last = saved(tmp_path, 1, 2)
    content = bytearray(last.read_bytes())
    middle = len(content) // 2
    if damage == "gone":
        last.unlink()
    else:
        content[middle] ^= 1  # within the weights
        last.write_bytes({"half": content[:middle], "empty": b"", "flipped": content}[damage])
    assert number(whole_checkpoint(tmp_path)) == 1


def test_none_whole(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"all checkpoints in .* are damaged: remove the folder to train from the start"
    ):
        whole_checkpoint(tmp_path)
    saved(tmp_path / "other", 0).rename(tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=rf"start, or .* model\.weights={tmp_path / 'best.ckpt'}$"):
        whole_checkpoint(tmp_path)


class Full:
    """A file on a disk that gets full after `room` bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        self._room -= len(content)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._file.write(content))


@pytest.mark.parametrize("room", [0, 2000])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    last = saved(tmp_path, 1, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: Full(opened(path, mode), room) if "w" in mode else opened(path, mode)
    )
    with pytest.raises(
        UserError, match=r"cannot write .*last\.ckpt: No space left on device; the earlier checkpoints are intact"
    ):
        saved(tmp_path, 3)
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert number(last) == 2


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write .*last\.ckpt: File exists"):
        saved(tmp_path / "checkpoints", 1)


def test_a_slurm_job_that_prepares_or_evaluates_is_queued_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    with pytest.raises(SystemExit) as stopped, requeued():
        signal.raise_signal(signal.SIGUSR1)
    assert stopped.value.code == 128 + signal.SIGUSR1
    assert (tmp_path / "asked").read_text() == "requeue 9\n"
    assert capsys.readouterr().err == "\nadnet: stopped by SIGUSR1; Slurm job 9 is in the queue again\n"
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.mark.parametrize("slurm", [True, False])
def test_a_launcher_s_handler_and_other_processes_are_left_alone(slurm: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    handler = signal.SIG_DFL
    if slurm:
        monkeypatch.setenv("SLURM_JOB_ID", "9")
        handler = signal.default_int_handler
        signal.signal(signal.SIGUSR1, handler)
    with requeued():
        assert signal.getsignal(signal.SIGUSR1) is handler
    assert signal.getsignal(signal.SIGUSR1) is handler


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path), every_steps=1)
    checkpoints._note(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        checkpoints._note(signal.SIGINT, None)
