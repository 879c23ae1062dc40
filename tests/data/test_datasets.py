from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adnet.data import davis2016, read_mask, synthetic
from adnet.data.datasets import folder
from adnet.data.masks import write_mask
from adnet.data.videos import all_but_first_and_last
from adnet.errors import UserError


def frame(root: Path, sequence: str, index: int) -> Path:
    return root / "JPEGImages" / "480p" / sequence / f"{index:05d}.jpg"


def mask(root: Path, sequence: str, index: int) -> Path:
    return root / "Annotations" / "480p" / sequence / f"{index:05d}.png"


def test_order_is_that_of_the_split_file(tiny_davis: Path) -> None:
    file = tiny_davis / "ImageSets" / "480p" / "val.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(reversed(lines)) + "\n\n")
    dataset = davis2016(tiny_davis)
    assert (dataset.name, dataset.split, dataset.root, dataset.scored) == (
        "davis2016",
        "val",
        tiny_davis,
        all_but_first_and_last,
    )
    assert [sequence.name for sequence in dataset.sequences] == ["val-001", "val-000"]
    for sequence in dataset.sequences:
        assert [path.name for path in sequence.frames] == [f"{i:05d}.jpg" for i in range(4)]
        assert list(sequence.annotations) == [path.stem for path in sequence.frames]
        assert sequence.annotation(sequence.frames[1]).shape == (64, 112)


def test_sequences_are_a_filter_and_keep_the_order(tiny_davis: Path) -> None:
    found = davis2016(tiny_davis, "train", ["train-001"]).sequences
    assert [sequence.name for sequence in found] == ["train-001"]
    found = davis2016(tiny_davis, "train", ["train-001", "train-000"]).sequences
    assert [sequence.name for sequence in found] == ["train-000", "train-001"]


def test_each_split_has_its_own_choice(tiny_davis: Path) -> None:
    chosen: dict[str, Any] = {"train_sequences": ["train-001"], "val_sequences": ["val-000"]}
    for given in (chosen, chosen | {"sequences": ["elsewhere"]}):
        for split, expected in (("train", "train-001"), ("val", "val-000")):
            assert [sequence.name for sequence in davis2016(tiny_davis, split, **given).sequences] == [expected]
    train = davis2016(tiny_davis, "train", val_sequences=["val-000"])
    assert [sequence.name for sequence in train.sequences] == ["train-000", "train-001"]
    with pytest.raises(
        UserError,
        match=r"no sequence 'x' in this split, which has train-000, train-001; data\.train_sequences and data\.val_seq",
    ):
        davis2016(tiny_davis, "train", sequences=["x"])


def test_unknown_sequence_offers_the_nearest(tiny_davis: Path) -> None:
    with pytest.raises(UserError, match=r"'train-01' in this split; did you mean 'train-0[01]1?'"):
        davis2016(tiny_davis, "train", ["train-01"])
    with pytest.raises(UserError, match="no sequence 'zebra'"):
        davis2016(tiny_davis, "train", ["zebra"])


@pytest.mark.parametrize(
    "content", [b"sequences: [", b"sequences: [bear]", b"bear", b"", b"\xff\xfe", b"sequences:\n- {name: a}"]
)
def test_damaged_attributes_are_one_line(tiny_davis: Path, content: bytes) -> None:
    (tiny_davis / "db_info.yml").write_bytes(content)
    with pytest.raises(UserError, match=r"db_info\.yml: cannot be read as the sequences' attributes"):
        davis2016(tiny_davis)


def test_attributes_are_read_where_there_are_any(tiny_davis: Path) -> None:
    assert davis2016(tiny_davis).sequences[0].attributes == ()
    (tiny_davis / "db_info.yml").write_text("sequences:\n- {name: val-000, attributes: [OCC, FM]}\n")
    assert [sequence.attributes for sequence in davis2016(tiny_davis).sequences] == [("OCC", "FM"), ()]


def test_empty_mask_is_legal(tiny_davis: Path) -> None:
    write_mask(mask(tiny_davis, "val-000", 2), np.zeros((64, 112), dtype=bool))
    sequence = davis2016(tiny_davis).sequences[0]
    assert not sequence.annotation(sequence.frames[2]).any()


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no dataset at .*nowhere: set data\.root"):
        davis2016(tmp_path / "nowhere")


def test_missing_split_names_those_there_are(tiny_davis: Path) -> None:
    with pytest.raises(UserError, match=r"test\.txt: the splits here are train, val; set data\.split"):
        davis2016(tiny_davis, "test")
    with pytest.raises(UserError, match=r"no split file .*val\.txt: set data\.root to the folder of ImageSets$"):
        davis2016(tiny_davis / "JPEGImages")


def test_a_split_without_sequences(tiny_davis: Path, tmp_path: Path) -> None:
    (tiny_davis / "ImageSets" / "480p" / "val.txt").write_text("\n")
    with pytest.raises(UserError, match=r"^davis2016 val has no sequences; check the dataset in .*tiny_davis$"):
        davis2016(tiny_davis, "val")
    (tmp_path / "frames").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match=r"^no folder of images in .*/frames: put each video's frames in a folder of"):
        folder(tmp_path)


def test_frame_without_mask(tiny_davis: Path) -> None:
    mask(tiny_davis, "val-000", 2).unlink()
    with pytest.raises(UserError, match=r"frame 00002 in sequence 'val-000' of .* has no mask \(1 such\)"):
        davis2016(tiny_davis)
    assert davis2016(tiny_davis, "train").sequences  # the other split is whole


def test_mask_without_frame(tiny_davis: Path) -> None:
    frame(tiny_davis, "val-001", 3).unlink()
    with pytest.raises(UserError, match=r"mask 00003 in sequence 'val-001' of .* has no frame \(1 such\)"):
        davis2016(tiny_davis)


def test_sizes_that_differ(tiny_davis: Path) -> None:
    Image.new("L", (100, 60)).save(mask(tiny_davis, "val-001", 1))
    with pytest.raises(UserError, match=r"frame 00001 in sequence 'val-001' of .* is 112x64 and its mask 100x60"):
        davis2016(tiny_davis)


@pytest.mark.parametrize("left", [0, 1])
def test_sequence_of_fewer_than_two_frames(tiny_davis: Path, left: int) -> None:
    for index in range(left, 4):
        frame(tiny_davis, "val-000", index).unlink()
        mask(tiny_davis, "val-000", index).unlink()
    with pytest.raises(UserError, match=r"1 frame\(s\) in seq" if left else r"no images in .*/480p/val-000: put"):
        davis2016(tiny_davis)


def test_frame_that_is_no_image(tiny_davis: Path) -> None:
    frame(tiny_davis, "val-000", 1).write_bytes(b"")
    with pytest.raises(UserError, match=r"val-000/00001\.jpg"):
        davis2016(tiny_davis)


def test_synthetic_is_read_as_davis_is(tmp_path: Path) -> None:
    made = synthetic(tmp_path / "videos", "train", train=1, val=0, frames=2, size=(32, 48))
    assert (made.name, made.split, made.scored) == ("synthetic", "train", all_but_first_and_last)
    assert made.sequences == davis2016(tmp_path / "videos", "train").sequences
    with pytest.raises(UserError, match="no sequence"):
        synthetic(tmp_path / "videos", "train", ["bear"], train=1, val=0, frames=2, size=(32, 48))


@pytest.mark.parametrize(("split", "sequences", "frames"), [("train", 30, 2079), ("val", 20, 1376)])
def test_real_davis_has_the_published_counts(davis_root: Path, split: str, sequences: int, frames: int) -> None:
    dataset = davis2016(davis_root, split)
    assert len(dataset.sequences) == sequences
    assert sum(len(sequence.frames) for sequence in dataset.sequences) == frames
    lines = (davis_root / "ImageSets" / "480p" / f"{split}.txt").read_text().split()
    order = [str(path.relative_to(davis_root)) for sequence in dataset.sequences for path in sequence.frames]
    assert order == [line.lstrip("/") for line in lines[::2]]
    assert any(sequence.attributes for sequence in dataset.sequences) == (davis_root / "db_info.yml").is_file()


@pytest.mark.slow
def test_real_davis_has_empty_masks(davis_root: Path) -> None:
    sequences = [sequence for split in ("train", "val") for sequence in davis2016(davis_root, split).sequences]
    files = (path for sequence in sequences for path in sequence.annotations.values())
    smallest = sorted(files, key=lambda path: path.stat().st_size)[:60]  # as PNG, an empty mask is the smallest
    assert [read_mask(path).any() for path in smallest] == [False] * 15 + [True] * 45
