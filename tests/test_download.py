"""The command, against a server on this machine."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adnet.data import davis2016
from adnet.data.known_dataset import Split
from adnet.data.videos import fingerprint
from adnet.download import main


@pytest.fixture
def url(tmp_path: Path, tiny_davis: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    shutil.make_archive(str(tmp_path / "served" / "tiny"), "zip", tiny_davis.parent, tiny_davis.name)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/tiny.zip"
    content = fingerprint(davis2016(tiny_davis, "val"))
    monkeypatch.setattr(davis2016, "splits", {"val": Split(2, frames=content["frames"], sha256=content["sha256"])})
    monkeypatch.setattr(davis2016, "url", address)
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_davis_is_downloaded_and_then_only_checked(run: Callable[..., Any], url: str, tmp_path: Path) -> None:
    root = tmp_path / "data" / "DAVIS"
    (tmp_path / "data" / ".DAVIS.0123abcd.draft" / "unpacked").mkdir(parents=True)  # by a process that was killed
    for _ in range(2):
        ended = run(main, f"data.root={root}")
        assert (ended.code, "davis2016 val: 2 sequences, 8 frames, annotations " in ended.out) == (0, True), ended.err
    assert sorted(path.name for path in root.parent.iterdir() if path.suffix != ".lock") == ["DAVIS"]
    assert url.endswith("tiny.zip")


@pytest.mark.parametrize("name", ["davis2017", "youtube_vos", "duts", "msra10k"])
def test_what_is_not_downloaded_is_to_be_had_elsewhere(run: Callable[..., Any], tmp_path: Path, name: str) -> None:
    ended = run(main, f"data.root={tmp_path / 'nothing'}", f"data={name}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith(f"adnet: {name}: take ")
    assert f"put it at {tmp_path / 'nothing'}" in ended.err


def test_a_mistake_is_one_line(run: Callable[..., Any], tmp_path: Path) -> None:
    ended = run(main, f"data.root={tmp_path / 'nothing'}", "data=visal")
    assert ended.code == 1
    assert ended.err.startswith("adnet: visal: no public address; ask its authors")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "nothing").exists()


def test_single_images_are_called_images(run: Callable[..., Any], tmp_path: Path) -> None:
    for part in ("DUTS-TR", "DUTS-TE"):
        for kind, suffix in (("Image", "jpg"), ("Mask", "png")):
            (tmp_path / part / f"{part}-{kind}").mkdir(parents=True)
            for name in "ab":
                Image.new("L", (16, 16), 255).save(tmp_path / part / f"{part}-{kind}" / f"{name}.{suffix}")
    ended = run(main, "data=duts", f"data.root={tmp_path}", "verify=false")
    assert "duts train: 2 images, 2 frames, annotations " in ended.out, ended.err
    ended = run(main, "data=duts", f"data.root={tmp_path}")
    assert "train is not the official release: images 2, expected 10553 (" in ended.err
