"""Against a server on this machine that stalls, cuts off, ignores ranges, and changes its mind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_disk import file_size

from adnet.errors import UserError
from adnet.shared.fetch import fetch

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `faults` are used up one for each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.faults, self.asked = CONTENT, True, [], []  # type: ignore[var-annotated]
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "missing":
            return self.send_error(404)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        total = len(self.server.content)
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + (fault == 'shifted')}-{total - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        half = body[: len(body) // 2]
        if fault == "stall":
            self.wfile.write(half)
            self.wfile.flush()
            self.server.over.wait(20)
        elif fault == "nothing":
            self.server.over.wait(20)
        else:
            self.wfile.write(half if fault == "cut" else body)
        self.close_connection = True
        return None

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_comes_whole_and_once(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data.bin"
    for _ in range(2):
        assert fetch(server.url, path) == path
        assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ["data.bin"]


@pytest.mark.parametrize(
    "faults", [["cut"], ["stall"], ["cut", "stall", "cut"], ["nothing", "cut"], ["cut", "shifted"]]
)
def test_what_is_cut_off_goes_on(server: Server, tmp_path: Path, faults: list[str]) -> None:
    server.faults = list(faults)
    fetch(server.url, tmp_path / "data.bin", timeout=0.3)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    if "shifted" not in faults:
        assert server.asked[-1] is not None  # not from the start again


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.faults = ["cut", "nothing", "nothing"]
    with pytest.raises(UserError) as error:
        fetch(server.url, tmp_path / "data.bin", attempts=1, timeout=0.3)
    assert "\n" not in str(error.value)
    part = tmp_path / "data.bin.part"
    assert f"kept in {part}, and the next try continues there" in str(error.value)
    assert not (tmp_path / "data.bin").exists()
    have = part.stat().st_size
    assert 0 < have < len(CONTENT)
    server.faults, server.asked = [], []
    fetch(server.url, tmp_path / "data.bin")
    assert server.asked == [f"bytes={have}-"]
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_part_that_is_all_there_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    fetch(server.url, tmp_path / "data.bin")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.faults = False, ["cut"]
    fetch(server.url, tmp_path / "data.bin")
    assert server.asked[-1] is not None
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_a_missing_file_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.faults = ["missing"] * 9
    with pytest.raises(UserError, match="404"):
        fetch(server.url, tmp_path / "data.bin")
    assert len(server.asked) == 1


def test_no_server_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot download http://127\.0\.0\.1:9/x: .*refused") as error:
        fetch("http://127.0.0.1:9/x", tmp_path / "x", attempts=1)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="cannot download"):
        fetch("nonsense", tmp_path / "x", attempts=1)


def test_a_full_disk_is_told_by_the_file_that_had_no_room(server: Server, tmp_path: Path) -> None:
    """And is no reason to ask the server again."""
    with file_size(100_000), pytest.raises(OSError, match=rf"File too large: '{tmp_path}/data\.bin\.part'"):
        fetch(server.url, tmp_path / "data.bin")
    assert server.asked == [None]
    assert fetch(server.url, tmp_path / "data.bin").read_bytes() == CONTENT
