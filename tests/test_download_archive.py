from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adnet.download import extract
from adnet.errors import UserError


def pack(path: Path, *members: tuple[str, str], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            file.writestr(member, content)
    return path


def test_files_and_folders_come_out(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", ("top/", ""), ("top/a.txt", "one"), ("top/deep/..b.txt", "two"))
    extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "top" / "a.txt").read_text() == "one"
    assert (tmp_path / "out" / "top" / "deep" / "..b.txt").read_text() == "two"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "top/../../evil.txt",
        "/evil.txt",
        "..\\evil.txt",
        "C:\\evil.txt",
        "C:evil.txt",
        "\\evil.txt",
        "ok\0/../evil",
    ],
)
def test_a_way_out_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = pack(tmp_path / "a.zip", ("fine.txt", "one"), ("x" * len(name), "two"))
    # The name is put in afterwards, as zipfile would clean it.
    archive.write_bytes(archive.read_bytes().replace(b"x" * len(name), name.encode()))
    with pytest.raises(UserError, match="outside its folder"):
        extract(archive, tmp_path / "deep" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    archive = pack(tmp_path / "a.zip", ("top", "/etc"), mode=kind | 0o777)
    with pytest.raises(UserError, match="a link or a device"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_says_so(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.zip", ("a.txt", "one" * 10_000)).read_bytes()
    for number, content in enumerate(
        [b"", b"<html>", whole[: len(whole) // 2], whole.replace(whole[40:50], b"\0" * 10)]
    ):
        (tmp_path / "b.zip").write_bytes(content)
        with pytest.raises(UserError, match="not a complete ZIP file"):
            extract(tmp_path / "b.zip", tmp_path / f"out{number}")


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    def full(_: Any) -> Usage:
        return Usage(2)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(UserError, match="make room"):
        extract(pack(tmp_path / "a.zip", ("a.txt", "one")), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
