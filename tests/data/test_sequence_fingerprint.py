from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from adnet.data import davis2016
from adnet.data.masks import write_mask
from adnet.data.sequence import fingerprint


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
