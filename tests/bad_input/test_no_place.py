"""Folders without permission and disks without room: one line, nothing half-written, and later the same command works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import pytest
from full_disk import file_size

from .conftest import Kitchen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60, func_only=True)]

WRITERS = ("score", "evaluate", "predict", "export", "benchmark", "train")
NOBODY = 65534


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user who may read and write what anyone may: permissions don't hold for root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("limit", [2_000, 5_000, 40_000])
@pytest.mark.parametrize("command", [*WRITERS, "dashboard", "report", "convert"])
def test_a_full_disk(kitchen: Kitchen, command: str, limit: int) -> None:
    expected = kitchen.expected(command)
    kitchen.around = partial(file_size, limit)
    answer = kitchen.call(command)
    kitchen.around = nullcontext
    if answer.code:
        assert "File too large" in answer.line
        assert "out" in answer.line
        answer = kitchen.call(command)
    assert answer.code == 0, answer.line
    assert kitchen.out().keys() == expected.keys()


@pytest.mark.parametrize("command", WRITERS)
def test_a_folder_that_may_not_be_written(kitchen: Kitchen, command: str) -> None:
    expected = kitchen.expected(command)  # and all is imported, wherever Python may lie
    (kitchen.folder / "out").mkdir()
    (kitchen.folder / "out").chmod(0o555)
    kitchen.folder.chmod(0o555)
    try:
        kitchen.around = without_privileges
        answer = kitchen.call(command)
    finally:
        kitchen.around = nullcontext
        kitchen.folder.chmod(0o755)
        (kitchen.folder / "out").chmod(0o755)
    assert (answer.code, answer.left) == (1, False)
    assert "Permission denied" in answer.line
    assert kitchen.call(command).code == 0
    assert kitchen.out().keys() == expected.keys()


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("score", "masks/val-000/00001.png"),
        ("score", "davis/ImageSets/480p/val.txt"),
        ("score", "davis/db_info.yml"),
        ("evaluate", "last.ckpt"),
        ("evaluate", "davis/JPEGImages/480p/val-000/00000.jpg"),
        ("predict", "clip/0.png"),
        ("export", "last.ckpt"),
        ("train", "davis/Annotations/480p/train-000/00001.png"),
    ],
)
def test_a_file_that_may_not_be_read(kitchen: Kitchen, command: str, file: str) -> None:
    expected = kitchen.expected(command)
    kitchen.folder.chmod(0o777)
    (kitchen.folder / file).chmod(0)
    try:
        kitchen.around = without_privileges
        answer = kitchen.call(command)
    finally:
        kitchen.around = nullcontext
        (kitchen.folder / file).chmod(0o644)
        kitchen.folder.chmod(0o755)
    assert answer.code == 1
    assert "ermission denied" in answer.line
    answer = kitchen.call(command)
    assert answer.code == 0, answer.line
    assert kitchen.out().keys() == expected.keys()
