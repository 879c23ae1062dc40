from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from adnet.data import davis2016
from adnet.data.masks import write_mask
from adnet.data.videos import fingerprint, known_fingerprint


def test_fingerprint_follows_the_data_and_not_the_place(tiny_davis: Path, tmp_path: Path) -> None:
    first = fingerprint(davis2016(tiny_davis))
    assert first["sequences"] == ["val-000", "val-001"]
    assert first["frames"] == 8
    copy = Path(shutil.copytree(tiny_davis, tmp_path / "elsewhere"))
    assert fingerprint(davis2016(copy)) == first
    write_mask(copy / "Annotations" / "480p" / "val-001" / "00003.png", np.eye(64, 112, dtype=bool))
    assert fingerprint(davis2016(copy))["sha256"] != first["sha256"]
    assert fingerprint(davis2016(copy))["frames_sha256"] == first["frames_sha256"]
    frame = copy / "JPEGImages" / "480p" / "val-000" / "00001.jpg"
    frame.write_bytes(frame.read_bytes() + b"\0")
    assert fingerprint(davis2016(copy))["frames_sha256"] != first["frames_sha256"]


def test_unchanged_files_are_read_once(tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADNET_CACHE", str(tmp_path / "cache"))
    expected, read = fingerprint(davis2016(tiny_davis)), []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: (read.append(file), read_bytes(file))[1])
    assert known_fingerprint(davis2016(tiny_davis)) == expected
    assert len(read) == 16
    assert known_fingerprint(davis2016(tiny_davis)) == expected
    assert len(read) == 16

    # A file of the same size, even one that has the time of the file it replaces.
    frame = tiny_davis / "JPEGImages" / "480p" / "val-000" / "00001.jpg"
    before, content = frame.stat(), bytearray(frame.read_bytes())
    content[-3] ^= 1
    frame.write_bytes(content)
    os.utime(frame, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known_fingerprint(davis2016(tiny_davis)) == fingerprint(davis2016(tiny_davis)) != expected


@pytest.mark.parametrize("kept", ["", "{", "[]"])
def test_a_cache_that_is_of_no_use_is_done_without(
    tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    monkeypatch.setenv("ADNET_CACHE", str(tmp_path / "cache"))
    expected = known_fingerprint(davis2016(tiny_davis))
    [file] = (tmp_path / "cache" / "fingerprints").iterdir()
    file.write_text(kept)
    assert known_fingerprint(davis2016(tiny_davis)) == expected
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()  # nothing can be written below it
    assert known_fingerprint(davis2016(tiny_davis)) == expected
