from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as rle
from pycocotools.coco import COCO

from adnet.data import write_mask
from adnet.data.coco_masks import segmentation_mask, to_polygons, write_coco
from adnet.errors import UserError


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_same_masks(tmp_path: Path, polygons: bool) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((30, 47)) > 0.7, np.zeros((30, 47), bool), np.ones((12, 9), bool)]
    paths = [tmp_path / f"{index:05d}.png" for index in range(3)]
    for path, mask in zip(paths, masks, strict=True):
        write_mask(path, mask)
    write_coco(paths, tmp_path / "rle.json", polygons)
    coco = COCO(str(tmp_path / "rle.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["00000.png", "00001.png", "00002.png"]
    for number, mask in enumerate(masks, start=1):
        found = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
        assert len(found) == mask.any()
        for annotation in found:
            assert isinstance(annotation["segmentation"], list) == polygons
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            y, x = np.nonzero(mask)
            assert annotation["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"pip install 'adnet\[video\]'"):
        write_coco([], tmp_path / "rle.json")


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24)))
def test_polygons_come_back_as_the_same_mask(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Holes, islands in them, and pixels that touch at corners, by pycocotools and by our reader."""
    height, width = mask.shape
    polygons = to_polygons(mask)
    assert bool(polygons) == mask.any()
    if polygons:
        by_pycocotools = rle.decode(rle.merge(rle.frPyObjects(polygons, height, width)))
        np.testing.assert_array_equal(by_pycocotools.astype(bool), mask)
    np.testing.assert_array_equal(segmentation_mask(polygons, (height, width)), mask)


def test_a_polygon_has_corners_alone() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:6, 1:8] = True
    (polygon,) = to_polygons(mask)
    assert {*zip(polygon[::2], polygon[1::2], strict=True)} == {(1, 2), (8, 2), (8, 6), (1, 6)}
    assert len(polygon) == 8


def test_what_reaches_out_of_the_frame_is_cut_off() -> None:
    mask = segmentation_mask([[-3, -3, 4, -3, 4, 2, -3, 2], [6, 3, 11, 3, 11, 9, 6, 9]], (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[:2, :4] = expected[3:, 6:] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([1, 1, 4, 4], "three points"),
        ([1, 1, 4, 4, 2], "three points"),
        ([1, 1, 4, 4, 2, 1, 3], "three points"),
        ("abcdef", "no numbers"),
        ([1, 1, 4, None, 2, 1], "outside"),
        ([1, 1, 4, [4], 2, 1], "no numbers"),
        (7, "three points"),
        ([8, 1, 12, 1, 12, 5], "from x=8, y=1 to x=12, y=5 lies outside of the frame of 8x6"),
        ([-4, 1, 0, 1, 0, 5], "outside"),
        ([1, 1, 4, 1, 1e12, 5], "outside"),
        ([1, 1, 4, float("inf"), 1, 5], "outside"),
        ([1, 1, 4, float("nan"), 1, 5], "outside"),
        ([0.1, 0.1, 0.9, 0.1, 0.9, 0.8], "in pixels"),
    ],
)
def test_what_is_no_polygon_of_the_frame_is_refused(polygon: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation_mask([polygon], (6, 8))
