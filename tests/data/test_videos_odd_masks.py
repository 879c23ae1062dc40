from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adnet.data import davis2016, folder
from adnet.data.videos import report_odd_masks

OBJECT = np.zeros((20, 30), dtype=np.uint8)
OBJECT[5:12, 6:20] = 1


def lines(root: Path, labels: list[np.ndarray], caplog: pytest.LogCaptureFixture) -> list[str]:
    for part in ("frames", "masks"):
        (root / part / "walk").mkdir(parents=True, exist_ok=True)
    for number, label in enumerate(labels):
        Image.new("RGB", (30, 20)).save(root / "frames" / "walk" / f"{number}.png")
        Image.fromarray(label).save(root / "masks" / "walk" / f"{number}.png")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        report_odd_masks(folder(root))
    return [record.getMessage() for record in caplog.records]


def test_masks_that_are_nearly_all_foreground(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = np.full_like(OBJECT, 255)
    full[0, 0] = 0
    (line,) = lines(tmp_path / "full", [full] * 20, caplog)
    assert "folder all in" in line
    assert "nearly all pixels of all masks are foreground (of 12 masks at least 100 %)" in line
    assert lines(tmp_path / "some", [full, OBJECT * 255], caplog) == []


def test_void_beside_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    void = OBJECT.copy()
    void[4] = 255
    (line,) = lines(tmp_path, [OBJECT, void], caplog)
    assert "masks/walk/1.png has the label 255 beside others" in line
    assert lines(tmp_path, [OBJECT, OBJECT * 255], caplog) == []


def test_nothing_is_said_of_usual_masks(tiny_davis: Path, caplog: pytest.LogCaptureFixture) -> None:
    report_odd_masks(davis2016(tiny_davis))
    assert not caplog.records
