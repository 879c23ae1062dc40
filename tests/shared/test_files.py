from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adnet.errors import UserError
from adnet.shared import files
from adnet.shared.files import cache_folder, from_home, new_folder, read_json, read_lines, replacing, write_json
from adnet.shared.locks import LOCKS


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file.txt"
    with replacing(file) as draft:
        draft.write_text("before")
        assert not file.exists()
    with pytest.raises(OSError, match=r"No space left.*file\.txt"), replacing(file) as draft:  # noqa: PT012 (what comes before it fails)
        draft.write_text("half of what was to ")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_is_named_by_what_was_to_be_written(tmp_path: Path) -> None:
    """Not by a file in the draft, which is gone."""
    with pytest.raises(OSError, match="No space left") as caught, new_folder(tmp_path / "folder") as draft:
        raise OSError(errno.ENOSPC, "No space left on device", "a.jpg", None, str(draft / "a.jpg"))
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "folder"), None)
    assert not list(tmp_path.iterdir())


def test_a_new_folder_takes_the_place_of_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a link leads to, but not of the one that the user's shell is in."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with new_folder(tmp_path / "link") as draft:
        (draft / "file").touch()
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["file"]
    assert (tmp_path / "link").is_symlink()

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path, said in (
        (Path(), "is a mount point or the working directory"),
        (tmp_path / "link", "is not an empty folder"),
    ):
        with pytest.raises(UserError, match=said), new_folder(path):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "here", "link"]


@pytest.mark.parametrize("links", [True, False])
def test_what_came_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Of another process, since it was looked whether there is anything."""

    def link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(files.os, "link", link)
    file = tmp_path / "scores.json"
    write_json(file, {"first": 1}, overwrite=False)
    with pytest.raises(UserError, match=r"scores\.json is there already; give another output, or overwrite=true"):
        write_json(file, {"second": 2}, overwrite=False)
    assert read_json(file) == {"first": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_of_two_at_once_one_has_the_name(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    with pytest.raises(UserError, match="is there already"), replacing(file, overwrite=False) as draft:  # noqa: PT012 (the end of the block fails)
        draft.write_text("first to begin")
        write_json(file, {"second": 2}, overwrite=False)
    assert read_json(file) == {"second": 2}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json: (cannot be read as JSON|expected a JSON object)"):
        read_json(tmp_path / "a.json")


DRAFTS = """
import sys
from pathlib import Path
from adnet.shared.files import new_folder, replacing
with replacing(Path("a.json")) as file, new_folder(Path("b")) as folder:
    file.write_text("half of what was to ")
    (folder / "c").touch()
    print(flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not LOCKS, reason="needs locks to know whether a writer is alive")
def test_what_a_killed_process_left_goes_when_another_writes_there(tmp_path: Path) -> None:
    """But not the drafts of one that is alive, and no file of others."""
    others = {".a.json.draft", ".a.json.0123abcd", ".git", "0123abcd.draft"}
    for name in others:
        (tmp_path / name).touch()
    with subprocess.Popen(
        [sys.executable, "-c", DRAFTS], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for alive in (True, False):
            files._remove_abandoned_once.cache_clear()  # as in another process
            write_json(tmp_path / "other.json", {})
            found = {path.name for path in tmp_path.iterdir()} - others - {"other.json"}
            assert sorted(name.split(".")[1] for name in found) == ["a", "b"] * alive
            process.kill()
            process.wait()


def test_json_comes_back(tmp_path: Path) -> None:
    document: dict[str, Any] = {"a": [1, None, "\u00e9"]}
    write_json(tmp_path / "deep" / "a.json", document)
    assert read_json(tmp_path / "deep" / "a.json") == document


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(" bear \n\ncamel\n")
    assert read_lines(tmp_path / "val.txt") == ["bear", "camel"]
    (tmp_path / "val.txt").write_bytes(b"\xff\x00")
    for name in ("val.txt", "none.txt"):
        with pytest.raises(UserError, match=f"{name}: cannot be read as text"):
            read_lines(tmp_path / name)


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""Python's own encoding is not UTF-8, as in many containers, and on Windows."""


def test_text_is_utf_8_in_any_locale(tmp_path: Path) -> None:
    code = "from pathlib import Path; from adnet.shared.files import read_lines, write_text; write_text(Path('a'), 'v\\xe9lo\\n')"
    code += "; assert read_lines(Path('a')) == ['v\\xe9lo']"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | ASCII, check=True)
    assert (tmp_path / "a").read_bytes() == "v\u00e9lo\n".encode()


def text_calls(file: Path) -> Iterator[ast.Call]:
    """The calls that read or write a text file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            modes = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            plain = node.func.attr == "open" and len(modes) == len(node.args) and "b" not in "".join(map(str, modes))
            if node.func.attr in ("read_text", "write_text") or plain:
                yield node


def test_every_text_file_says_its_encoding() -> None:
    root = Path(files.__file__).parents[1]
    calls = [(path, call) for path in sorted(root.rglob("*.py")) for call in text_calls(path)]
    assert len(calls) > 10
    silent = [
        f"{path.relative_to(root)}:{call.lineno}"
        for path, call in calls
        if not any(keyword.arg == "encoding" for keyword in call.keywords)
    ]
    assert silent == []


def test_the_cache_folder_may_be_below_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("ADNET_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("ADNET_CACHE")
    assert cache_folder() == tmp_path / ".cache" / "adnet"


def test_a_user_that_does_not_exist_has_no_home() -> None:
    with pytest.raises(UserError, match=r"^~nobody-of-this-name/x: this user has no home folder"):
        from_home("~nobody-of-this-name/x")
