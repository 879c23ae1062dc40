"""COCO files as a dataset; the masks are those that pycocotools makes of them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from run_lengths import encode

from adnet.data import Video, coco_dataset
from adnet.data.coco_dataset import coco, write_predictions
from adnet.data.masks import read_mask
from adnet.data.videos import annotated_frames
from adnet.errors import UserError
from adnet.report.figures.gallery import find_sequence
from adnet.report.read import Evaluation

FIXTURES = Path(__file__).parents[1] / "fixtures" / "coco"
SIZE = (24, 36)
BOX = np.zeros(SIZE, bool)
BOX[4:14, 5:20] = True
POLYGON = [[5, 4, 20, 4, 20, 14, 5, 14]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADNET_CACHE", str(tmp_path / "cache"))


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)


def document(names: list[str], segmentations: list[Any], **more: Any) -> dict[str, Any]:
    """A COCO file with an annotation of each segmentation, in the image of the same place; None: no annotation."""
    images = [
        {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for i, name in enumerate(names, start=1)
    ]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "segmentation": segmentation}
        for i, segmentation in enumerate(segmentations, start=1)
        if segmentation is not None
    ]
    return {"images": images, "categories": [{"id": 1, "name": "dog"}], "annotations": annotations} | more


def write(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def masks(sequence: Video) -> dict[str, Any]:
    return {frame.stem: sequence.annotation(frame) for frame in sequence.frames if frame.stem in sequence.annotations}


def by_pycocotools(file: Path) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
    found = {}
    for number, image in truth.imgs.items():
        parts = [truth.annToMask(one) for one in truth.imgToAnns[number]]
        found[Path(image["file_name"]).stem] = np.logical_or.reduce([np.zeros(SIZE, bool), *parts])
    return found


def check(sequence: Video, expected: dict[str, Any]) -> None:
    found = masks(sequence)
    assert found.keys() == expected.keys()
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, expected[name])


def test_every_kind_of_annotation(tmp_path: Path) -> None:
    """Several polygons, both kinds of run lengths, a crowd, an empty one, and several objects in an image."""
    rng = np.random.default_rng(0)
    noise = rng.random(SIZE) > 0.5
    runs = np.diff(np.flatnonzero(np.diff(np.r_[2, ~BOX.ravel("F") * 1, 2])), prepend=0)[1:].tolist()
    segmentations = [
        [[5.5, 4.2, 20.7, 4, 20, 14, 5, 14.9], [25, 2, 33, 9, 27, 20]],
        encode(noise),
        {"size": list(SIZE), "counts": runs},
        {"size": list(SIZE), "counts": runs},
        [],
    ]
    content = document([f"{i}.png" for i in range(5)], segmentations)
    content["annotations"][3]["iscrowd"] = 1
    content["annotations"].append({"id": 9, "image_id": 2, "category_id": 1, "iscrowd": 0, "segmentation": POLYGON})
    file = write(tmp_path / "a" / "all.json", content)
    for i in range(5):
        picture(tmp_path / "a" / f"{i}.png")
    content["annotations"].pop(4)  # pycocotools reads no empty one
    expected = by_pycocotools(write(tmp_path / "b" / "without_the_empty.json", content))
    np.testing.assert_array_equal(expected["2"], BOX)
    (sequence,) = coco(file.parent).sequences
    assert (sequence.name, len(sequence.frames)) == ("a", 5)
    check(sequence, expected)


@pytest.mark.parametrize("tool", ["datumaro", "label_studio", "supervision"])
def test_files_that_tools_wrote(tmp_path: Path, tool: str) -> None:
    """datumaro is what CVAT writes COCO with; Label Studio names images by where its server keeps them, and may have no size."""
    shutil.copy(FIXTURES / f"{tool}.json", tmp_path / "result.json")
    for i in range(3):
        picture(tmp_path / "images" / f"{'1a2b-' * (tool == 'label_studio')}frame_{i:06d}.png")
    (sequence,) = coco(tmp_path, empty="background").sequences
    check(sequence, by_pycocotools(tmp_path / "result.json"))


@pytest.mark.parametrize(
    ("file", "name", "image", "split"),
    [
        ("annotations/instances_default.json", "frame_000012.PNG", "images/default/frame_000012.PNG", "all"),  # CVAT
        ("instances_default.json", "frame_000012.PNG", "frames/clip/00012.jpg", "all"),  # CVAT without images
        ("instances_default.json", "clip/0007.jpg", "clip/0007.jpg", "default"),  # CVAT's tasks of images
        ("result.json", "images\\ab-7.jpg", "images/ab-7.jpg", "all"),  # Label Studio on Windows
        ("result.json", "../../media/upload/1/ab-7.jpg", "images/ab-7.jpg", "result"),
        ("train/_annotations.coco.json", "7_jpg.rf.1a2b.jpg", "train/7_jpg.rf.1a2b.jpg", "train"),  # Roboflow
        ("valid/_annotations.coco.json", "7_jpg.rf.1a2b.jpg", "valid/7_jpg.rf.1a2b.jpg", "val"),
        ("annotations.json", "JPEGImages/7.jpg", "JPEGImages/7.jpg", "all"),  # labelme
        ("annotations/instances_val2017.json", "000000000139.jpg", "val2017/000000000139.jpg", "val"),  # COCO
        ("rle.json", "00012.png", "frames/00012.jpg", "all"),  # our own masks, corrected
    ],
)
def test_images_are_found_where_tools_put_them(tmp_path: Path, file: str, name: str, image: str, split: str) -> None:
    write(tmp_path / file, document([name], [POLYGON]))
    picture(tmp_path / image)
    picture(tmp_path / "elsewhere" / "8.jpg")
    dataset = coco(tmp_path, split)
    (sequence,) = dataset.sequences
    assert (dataset.name, dataset.split, dataset.scored) == ("coco", split, annotated_frames)
    assert (sequence.name, sequence.frames) == (Path(image).parent.name, (tmp_path / image,))
    check(sequence, {Path(image).stem: BOX})


def test_two_exports_whose_images_have_the_same_names(tmp_path: Path) -> None:
    for task, polygon in (("task1", POLYGON), ("task2", [[1, 1, 9, 1, 9, 9]])):
        write(tmp_path / task / "annotations" / "instances_default.json", document(["frame_000000.PNG"], [polygon]))
        picture(tmp_path / task / "images" / "default" / "frame_000000.PNG")
    first, second = coco(tmp_path).sequences
    assert (first.name, second.name) == ("task1/images/default", "task2/images/default")
    check(first, {"frame_000000": BOX})
    assert masks(second)["frame_000000"].sum() < BOX.sum()


def test_two_files_about_one_image(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    write(tmp_path / "dogs.json", document(["0.png"], [POLYGON]))
    cats = document(["0.png"], [[[25, 0, 30, 0, 30, 3, 25, 3]]], categories=[{"id": 1, "name": "cat"}])
    write(tmp_path / "cats.json", cats)
    both = BOX.copy()
    both[:3, 25:30] = True
    check(coco(tmp_path).sequences[0], {"0": both})
    check(coco(tmp_path, category="dog").sequences[0], {"0": BOX})
    check(coco(tmp_path, category=["dog", "cat"]).sequences[0], {"0": both})
    check(coco(tmp_path, "dogs").sequences[0], {"0": BOX})


def test_what_is_unlisted_is_unannotated_and_what_is_empty_as_one_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(12):
        picture(tmp_path / "clip" / f"{i}.png")
    write(tmp_path / "a.json", document(["clip/2.png", "clip/10.png", "clip/3.png"], [POLYGON, None, []]))
    (sequence,) = coco(tmp_path).sequences
    assert [frame.stem for frame in sequence.frames] == [str(i) for i in range(12)]
    nothing = np.zeros(SIZE, bool)
    check(sequence, {"2": BOX, "10": nothing, "3": nothing})
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "1 of 3 images have an entry, but no annotation, and count as background; data.empty=unannotated leaves them out"
    ]
    caplog.clear()
    check(coco(tmp_path, empty="background").sequences[0], {"2": BOX, "10": nothing, "3": nothing})
    check(coco(tmp_path, empty="unannotated").sequences[0], {"2": BOX, "3": nothing})
    assert not caplog.records


def test_stills(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    picture(tmp_path / "images" / "b.jpg", (30, 20))
    content = document(["a.jpg", "b.jpg"], [POLYGON, POLYGON])
    content["images"][1] |= {"height": 30, "width": 20}
    write(tmp_path / "result.json", content)
    with pytest.raises(UserError, match=r"a\.jpg and b\.jpg differ in size: are they no video\? Set data\.stills=true"):
        coco(tmp_path)
    a, b = coco(tmp_path, stills=True).sequences
    assert (a.name, len(a.frames), b.name, b.annotation(b.frames[0]).shape) == ("a", 1, "b", (30, 20))


def test_videos_by_their_id(tmp_path: Path) -> None:
    """Several in one folder; names can't lead out of it."""
    names = ["a0.png", "a1.png", "b0.png", "c0.png"]
    content = document(names, [POLYGON] * 4, videos=[{"id": 1, "name": "x/y.mp4"}, {"id": 2, "name": "../../z"}])
    for image, video in zip(content["images"], (1, 1, 2, 3), strict=True):
        image["video_id"] = video
    write(tmp_path / "a.json", content)
    for name in names:
        picture(tmp_path / "frames" / name)
    found = coco(tmp_path).sequences
    assert {sequence.name: len(sequence.frames) for sequence in found} == {"3": 1, "--..-z": 1, "x-y.mp4": 2}


def test_youtube_vis(tmp_path: Path) -> None:
    content = {
        "videos": [
            {"id": 7, "file_names": ["clip/00000.jpg", "clip/00005.jpg"], "height": 24, "width": 36, "length": 2}
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": 1, "video_id": 7, "category_id": 1, "iscrowd": 0, "segmentations": [encode(BOX), None]},
        ],
    }
    write(tmp_path / "train" / "instances.json", content)
    for i in (0, 1, 5):
        picture(tmp_path / "train" / "JPEGImages" / "clip" / f"{i:05d}.jpg")
    (sequence,) = coco(tmp_path, "train").sequences
    assert (sequence.name, len(sequence.frames)) == ("clip", 3)
    check(sequence, {"00000": BOX, "00005": np.zeros(SIZE, bool)})


def test_splits_and_sequences(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        picture(tmp_path / "frames" / name / "0.png")
    write(tmp_path / "instances_default.json", document([f"{name}/0.png" for name in "abc"], [POLYGON] * 3))
    (tmp_path / "train.txt").write_text("a\nc\n")
    assert [sequence.name for sequence in coco(tmp_path, "train").sequences] == ["a", "c"]
    assert [sequence.name for sequence in coco(tmp_path, "train", train_sequences=["c"]).sequences] == ["c"]
    assert [sequence.name for sequence in coco(tmp_path, sequences=["b"]).sequences] == ["b"]
    with pytest.raises(
        UserError, match=r"no COCO file of the split val in .*: the JSON files are instances_default\.json; "
    ):
        coco(tmp_path, "val")
    (tmp_path / "val.txt").touch()
    with pytest.raises(UserError, match="coco val has no sequences"):
        coco(tmp_path, "val")


def test_masks_are_written_once_and_anew_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    picture(root / "0.png")
    file = write(root / "a.json", document(["0.png"], [POLYGON]))
    check(coco(root).sequences[0], {"0": BOX})
    with monkeypatch.context() as without:
        without.setattr(coco_dataset, "write_mask", lambda *_: pytest.fail("written again"))
        check(coco(root).sequences[0], {"0": BOX})
    write(file, document(["0.png"], [encode(~BOX)]))
    check(coco(root).sequences[0], {"0": ~BOX})


RUNS = {"size": list(SIZE), "counts": [100, 900]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": None}, r"a\.json isn't COCO: annotations: input should be a valid list"),
        ({"images": [{"id": 1}]}, r"a\.json isn't COCO: images\.0\.file_name: field required"),
        ({"images": [{"id": 1, "file_name": "0.png"}] * 2}, r"a\.json: 2 images have the id 1: number them anew"),
        (
            {"images": [{"id": i, "file_name": "0.png"} for i in (1, 2)]},
            r"0\.png and 0\.png are both .*0\.png: keep one",
        ),
        ({"images": [{"id": 1, "file_name": "9.png"}]}, r"a\.json: 9\.png isn't in .* \(1 such\): add it"),
        (
            {"images": [{"id": 2, "file_name": "0.png"}]},
            r"annotation 1 belongs to the image 1, which isn't in its images",
        ),
        (
            {"images": [{"id": 1, "file_name": "0.png", "height": 30, "width": 36}]},
            r"a\.json: 0\.png is 36x30 and .*0\.png 36x24, both upright: resize one",
        ),
        ({"categories": []}, r"annotation 1 has the category 1, which isn't in its categories"),
        (
            {"segmentation": RUNS},
            r"annotation 1 of 0\.png has no usable mask: the runs come to 1000 pixels, the size 24x36 to 864",
        ),
        (
            {"segmentation": RUNS | {"size": [30, 36]}},
            r"has no usable mask: its size is 30x36, that of the frames 24x36",
        ),
        (
            {"segmentation": [[1, 1, 5, 5]]},
            r"annotation 1 of 0\.png has no usable mask: a polygon is not a list of at least three",
        ),
        ({"segmentation": [[40, 1, 50, 1, 50, 9]]}, r"from x=40, y=1 to x=50, y=9 lies outside of the frame of 36x24"),
        ({"segmentation": [], "bbox": [1, 1, 5, 5]}, r"annotation 1 is a box without a mask: draw one"),
        ({"segmentation": "abc"}, r"isn't COCO: annotations\.0\.segmentation\."),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    picture(tmp_path / "0.png")
    content = document(["0.png"], [POLYGON])
    if change.keys() & {"segmentation", "bbox"}:
        content["annotations"][0] |= change
        change = {}
    write(tmp_path / "a.json", content | change)
    with pytest.raises(UserError, match=message) as error:
        coco(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"a\.json: cannot be read as JSON \(Expecting"),
        ("[]", r"a\.json isn't COCO: the whole: input should be a valid dictionary"),
        ("{}", r"a\.json isn't COCO: categories: field required"),
        ("[" * 100000, r"a\.json: cannot be read as JSON"),
    ],
)
def test_what_is_no_coco_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message):
        coco(tmp_path)


def test_repeated_annotations_and_unknown_categories(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    content = document(["0.png"], [POLYGON])
    write(tmp_path / "a.json", content)
    with pytest.raises(UserError, match=r"no category 'dgo' in .*a\.json; did you mean dog\?"):
        coco(tmp_path, category="dgo")
    with pytest.raises(UserError, match=r"no category 'zebra' in .*a\.json; known are: dog"):
        coco(tmp_path, category=["zebra"])
    write(tmp_path / "a.json", content | {"annotations": content["annotations"] * 2})
    with pytest.raises(UserError, match="2 annotations have the id 1"):
        coco(tmp_path)


def test_an_image_that_may_be_two_is_one_line(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        picture(tmp_path / folder / "0.png")
    write(tmp_path / "c.json", document(["0.png"], [POLYGON]))
    with pytest.raises(UserError, match=r"0\.png may be .*a/0\.png or .*b/0\.png: put the file beside its images"):
        coco(tmp_path)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    root = tmp_path / "truth"
    names = ["clip/0.png", "clip/1.png", "still/0.png"]
    for name in names:
        picture(root / name)
    both = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    write(root / "all.json", document(names, [POLYGON] * 3, categories=both))
    return root


def predicted(file: Path, root: Path, category: str | None = None) -> dict[str, Any]:
    folder = file.with_suffix("")
    write_predictions(file, coco(root), folder, category)
    return {str(path.relative_to(folder)): read_mask(path) for path in folder.glob("*/*.png")}


def test_predictions_in_a_coco_file(tmp_path: Path, truth: Path) -> None:
    file = write(tmp_path / "a.json", document(["clip/0.jpg", "clip/1.png"], [encode(~BOX), None]))
    found = predicted(file, truth, "cat")  # in a file of one category, that is all
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"clip/0.png": (~BOX).sum(), "clip/1.png": 0}
    write(file, document(["clip/7.png"], [POLYGON]))
    with pytest.raises(UserError, match=r"a\.json: clip/7\.png isn't in coco all \(1 such\)"):
        predicted(file, truth)


@pytest.mark.parametrize("by_name", [False, True])
def test_predictions_as_coco_results(tmp_path: Path, truth: Path, by_name: bool) -> None:
    """Of a frame without a result nothing is foreground; uncertain ones, and those of another category, are left out."""
    images = ("clip/0", "clip/1", "still/0") if by_name else (1, 2, 3)
    results = [
        {"image_id": images[0], "category_id": 1, "segmentation": encode(BOX), "score": 0.9},
        {"image_id": images[0], "category_id": 2, "segmentation": encode(~BOX), "score": 0.9},
        {"image_id": images[1], "category_id": 1, "segmentation": encode(BOX), "score": 0.4},
    ]
    file = write(tmp_path / "results.json", results)
    sizes = {name: int(mask.sum()) for name, mask in predicted(file, truth, "dog").items()}
    assert sizes == {"clip/0.png": BOX.sum(), "clip/1.png": 0, "still/0.png": 0}
    sizes = {name: int(mask.sum()) for name, mask in predicted(file, truth).items()}
    assert sizes == {"clip/0.png": BOX.size, "clip/1.png": 0, "still/0.png": 0}


def test_results_about_other_images(tmp_path: Path, truth: Path) -> None:
    file = write(tmp_path / "results.json", [{"image_id": 9, "segmentation": encode(BOX)}])
    with pytest.raises(UserError, match=r"results\.json: no image has the id 9; numbers are ids of data=coco"):
        predicted(file, truth)
    shutil.copy(truth / "all.json", truth / "again.json")
    write(file, [{"image_id": 1, "segmentation": encode(BOX)}])
    with pytest.raises(UserError, match=r"share ids of images: choose one by data\.split to read .*results\.json"):
        predicted(file, truth)


def test_what_is_foreground_is_known_later_to_the_report(tmp_path: Path) -> None:
    picture(tmp_path / "clip" / "0.png")
    two = document(["0.png"], [POLYGON], categories=[{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}])
    two["annotations"].append(
        {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[25, 0, 30, 0, 30, 3, 25, 3]]}
    )
    write(tmp_path / "a.json", two)
    dataset = coco(tmp_path, category="dog")
    assert dataset.options == {"category": "dog"}
    details: dict[str, Any] = {"options": dataset.options}
    for options, expected in ((details, BOX.sum()), ({}, BOX.sum() + 15)):
        evaluation = Evaluation(tmp_path, "coco", "all", "paper", ("clip",), {}, tmp_path, options)
        found = find_sequence(evaluation, "clip")
        assert found is not None
        assert masks(found)["0"].sum() == expected
