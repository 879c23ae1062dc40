from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from adnet.data import write_mask
from adnet.errors import UserError
from adnet.video.coco import write_coco


def test_pycocotools_reads_the_same_masks(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((30, 47)) > 0.7, np.zeros((30, 47), bool), np.ones((12, 9), bool)]
    paths = [tmp_path / f"{index:05d}.png" for index in range(3)]
    for path, mask in zip(paths, masks, strict=True):
        write_mask(path, mask)
    write_coco(paths, tmp_path / "rle.json")
    coco = COCO(str(tmp_path / "rle.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["00000.png", "00001.png", "00002.png"]
    for number, mask in enumerate(masks, start=1):
        found = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert len(found) == mask.any()
        for annotation in found:
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            y, x = np.nonzero(mask)
            assert annotation["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install 'adnet\[video\]'"):
        write_coco([], tmp_path / "rle.json")
