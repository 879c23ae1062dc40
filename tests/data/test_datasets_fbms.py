from pathlib import Path

import pytest

from adnet.data.datasets import fbms_annotations
from adnet.errors import UserError

TEXT = """Ground truth definition file; do not change!

Total number of regions:
3
Scale of region 0:
16777215
Scale of region 1:
255
Scale of region 2:
65280

Confusion penality matrix:
0.0 1.0 1.0
1.0 0.0 1.0
1.0 1.0 0.0

Total number of frames in this shot:
40
Total number of labeled frames for this shot:
2
Frame number:
0
File name:
cats01_0001_gt.ppm
Input file name:
cats01_0001.ppm
Frame number:
19
File name:
cats01_0020_gt.ppm
Input file name:
cats01_0020.ppm
"""


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A folder with the annotations that `TEXT` lists."""
    for name in ("cats01_0001_gt.ppm", "cats01_0020_gt.ppm"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_regions_and_frames(truth: Path, newline: str) -> None:
    (truth / "cats01Def.dat").write_bytes(TEXT.replace("\n", newline).encode())
    masks, regions = fbms_annotations(truth, {"cats01_0001": Path("a"), "cats01_20": Path("b")})
    assert regions == (16777215, 255, 65280)
    assert masks == {"cats01_0001": truth / "cats01_0001_gt.ppm", "cats01_20": truth / "cats01_0020_gt.ppm"}


def test_regions_are_ordered_by_their_numbers(truth: Path) -> None:
    (truth / "aDef.dat").write_text(TEXT.replace("region 0", "region 9").replace("region 2", "region 0"))
    assert fbms_annotations(truth, {})[1] == (65280, 255, 16777215)


def test_without_definition(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \*Def\.dat in .*: it says which colour is the background"):
        fbms_annotations(tmp_path, {})


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [("Scale of region 0", "Scale of region 5", "region 0"), ("File name", "Label", "annotated frame")],
)
def test_incomplete_definition(tmp_path: Path, old: str, new: str, missing: str) -> None:
    (tmp_path / "aDef.dat").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=rf"aDef\.dat lists no {missing}"):
        fbms_annotations(tmp_path, {})
