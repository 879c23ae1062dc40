"""FBMS, ViSal and anyone's folder, on look-alikes with every quirk of their names."""

from __future__ import annotations

import shutil
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from adnet.data import Video, davis2016, davis2017, duts, fbms, folder, images, msra10k, visal, youtube_vos
from adnet.data.augmentation import Augmentation
from adnet.data.pairs import TrainingPairs, ValidationPairs
from adnet.data.videos import annotated_frames
from adnet.errors import UserError
from adnet.metrics import score_dataset

SIZE = (6, 9)
MASK = np.zeros(SIZE, bool)
MASK[2:4, 3:7] = True

WHITE, BLUE, GREEN = 0xFFFFFF, 0x0000FF, 0x00FF00


def save(path: Path, labels: np.ndarray | None = None) -> Path:
    """An image of `labels`, in a `.ppm` as 24-bit colours; or any picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(SIZE, np.uint8) if labels is None else labels
    if path.suffix == ".ppm":
        labels = np.stack([labels >> 16 & 255, labels >> 8 & 255, labels & 255], axis=-1)
    Image.fromarray(labels.astype(np.uint8)).save(path)
    return path


def masks(sequence: Video) -> dict[str, np.ndarray]:
    return {frame.stem: sequence.annotation(frame) for frame in sequence.frames if frame.stem in sequence.annotations}


def stems(sequence: Video) -> list[str]:
    return [frame.stem for frame in sequence.frames]


def define(truth: Path, scales: list[int], frames: list[tuple[str, str]]) -> None:
    lines = ["Ground truth definition file; do not change!", "", "Total number of regions:", str(len(scales))]
    for region, scale in enumerate(scales):
        lines += [f"Scale of region {region}:", str(scale)]
    lines += ["", "Confusion penality matrix:", "0.0 1.0", "", "Total number of labeled frames for this shot:"]
    lines += [str(len(frames))]
    for file, frame in frames:
        lines += ["Frame number:", "0", "File name:", file, "Input file name:", frame]
    truth.mkdir(parents=True, exist_ok=True)
    (truth / f"{truth.parent.name}Def.dat").write_text("\n".join(lines) + "\n")


@pytest.fixture
def fbms_root(tmp_path: Path) -> Path:
    """Two sequences as they lie in the archives, and as many plain ones as it takes to be complete."""
    part = tmp_path / "FBMS" / "Testset"

    # In colour: the background is white, two objects, of which one is black, and probabilities that are no annotation.
    cats, truth = part / "cats01", part / "cats01" / "GroundTruth"
    for i in range(1, 12):
        save(cats / f"cats01_{i:04d}.jpg")
    (cats / "cats01.bmf").write_text("11 1\n")
    (cats / ".hidden.jpg").write_bytes(b"")
    labels = np.full(SIZE, WHITE)
    labels[2:4, 3:5], labels[2:4, 5:7] = BLUE, 0
    labels[0, 0] = 0x010203  # of no region: background
    for i in (1, 10):
        save(truth / f"cats01_{i:04d}_gt.ppm", labels)
        save(truth / f"cats01_{i:04d}_PROB_gt.ppm", np.full(SIZE, GREEN))
        save(truth / f"cats01_{i:04d}_PROB.pgm", np.full(SIZE, 99))
    save(truth / "cats01_0010.pgm", np.full(SIZE, 255))  # the colour is preferred
    save(truth / "cats01_0005_gt.ppm", labels)  # not listed: not annotated
    define(truth, [WHITE, BLUE, 0], [(f"cats01_{i:04d}_gt.ppm", f"cats01_{i:04d}.ppm") for i in (1, 10)])

    # In grey, with other widths of the numbers, and a background that is not 0.
    marple, truth = part / "marple2", part / "marple2" / "GroundTruth"
    for i in range(1, 12):
        save(marple / f"marple2_{i:03d}.jpg")
    save(truth / "marple2_02.pgm", np.where(MASK, 0, 170))
    save(truth / "marple2_011.pgm", np.full(SIZE, 170))
    define(truth, [170, 0, 85], [("marple2_02.pgm", "old/marple_2.ppm"), ("marple2_011.pgm", "marple2_011.ppm")])

    for number in range(28):
        plain = part / f"plain{number:02d}"
        for i in (1, 2):
            save(plain / f"{plain.name}_{i:04d}.jpg")
        save(plain / "GroundTruth" / f"{plain.name}_0001.pgm", MASK * 255)
        define(plain / "GroundTruth", [0, 255], [(f"{plain.name}_0001.pgm", f"{plain.name}_0001.ppm")])
    return part.parent


def test_fbms(fbms_root: Path) -> None:
    dataset = fbms(fbms_root)
    assert (dataset.name, dataset.split, dataset.root, dataset.scored) == ("fbms", "test", fbms_root, annotated_frames)
    assert len(dataset.sequences) == 30
    cats, marple = dataset.sequences[:2]
    assert stems(cats) == [f"cats01_{i:04d}" for i in range(1, 12)]
    assert list(cats.annotations) == ["cats01_0001", "cats01_0010"]
    assert stems(marple) == [f"marple2_{i:03d}" for i in range(1, 12)]
    for mask in masks(cats).values():
        np.testing.assert_array_equal(mask, MASK)  # both objects are one foreground
    np.testing.assert_array_equal(masks(marple)["marple2_002"], MASK)
    assert not masks(marple)["marple2_011"].any()
    assert list(masks(dataset.sequences[2])) == ["plain00_0001"]


def test_fbms_filters_and_has_two_splits(fbms_root: Path) -> None:
    assert [s.name for s in fbms(fbms_root, sequences=["marple2", "cats01"]).sequences] == ["cats01", "marple2"]
    assert fbms(fbms_root, "val") == fbms(fbms_root)  # what a training validates on
    with pytest.raises(UserError, match=r"no sequence 'marple'.*; did you mean 'marple2'"):
        fbms(fbms_root, sequences=["marple"])
    with pytest.raises(UserError, match=r"no folder .*Trainingset"):
        fbms(fbms_root, "train")
    with pytest.raises(UserError, match="fbms has no split 'all': the splits are train, test"):
        fbms(fbms_root, "all")
    with pytest.raises(UserError, match=r"no dataset at .*nowhere: set data\.root"):
        fbms(fbms_root / "nowhere")


def test_fbms_that_is_incomplete(fbms_root: Path) -> None:
    part = fbms_root / "Testset"
    (part / "plain05").rename(part.parent / "elsewhere")
    with pytest.raises(UserError, match=r"Testset has 29 sequences, FBMS has 30: complete it, or name those"):
        fbms(fbms_root)
    assert fbms(fbms_root, sequences=["cats01"]).sequences
    truth = part / "cats01" / "GroundTruth"
    (truth / "cats01_0001_gt.ppm").unlink()
    with pytest.raises(UserError, match=r"no annotation .*cats01_0001_gt\.ppm, which cats01Def\.dat lists"):
        fbms(fbms_root, sequences=["cats01"])
    (truth / "cats01Def.dat").unlink()
    with pytest.raises(UserError, match=r"no \*Def\.dat in .*cats01/GroundTruth"):
        fbms(fbms_root, sequences=["cats01"])


def test_fbms_annotation_without_frame_or_of_another_size(fbms_root: Path) -> None:
    frame = fbms_root / "Testset" / "cats01" / "cats01_0010.jpg"
    Image.new("RGB", (20, 10)).save(frame)
    with pytest.raises(UserError, match=r"frame cats01_0010 in sequence 'cats01' of .* is 20x10 and its mask 9x6"):
        fbms(fbms_root)
    frame.unlink()
    with pytest.raises(UserError, match=r"mask cats01_0010 in sequence 'cats01' of .* has no frame"):
        fbms(fbms_root)


def test_a_definition_of_another_annotation_is_noticed(fbms_root: Path) -> None:
    truth = fbms_root / "Testset" / "marple2" / "GroundTruth"
    define(truth, [WHITE, BLUE], [("marple2_02.pgm", "marple2_002.ppm")])  # colours, and the annotation is grey
    marple = fbms(fbms_root, sequences=["marple2"]).sequences[0]
    with pytest.raises(UserError, match=r"marple2_02\.pgm has none of the labels .* \(16777215, 255\)"):
        masks(marple)


# ViSal


@pytest.fixture
def visal_root(tmp_path: Path) -> Path:
    root = tmp_path / "ViSal"
    for i in (1, 2, 3, 10):
        save(root / "ViSal" / "boat" / f"boat_{i}.jpg")
        save(root / "ViSal" / "boat2" / f"boat2_{i:03d}.bmp")
        save(root / "ViSal" / "gokart" / f"{i:04d}.png")  # a number alone
    for name, i, label in (("boat", 2, 255), ("boat", 10, 255), ("boat2", 3, 1), ("boat2", 10, 1)):
        stem = f"{name}_{i}" if name == "boat" else f"{name}_{i:03d}"
        save(root / "GroundTruth" / f"{stem}.{'bmp' if name == 'boat' else 'png'}", MASK * label)
    save(root / "GroundTruth" / "gokart0002.png", ~MASK * 255)
    (root / "GroundTruth" / "Thumbs.db").write_bytes(b"")
    for number in range(14):
        for i in (1, 2):
            save(root / "ViSal" / f"plain{number}x" / f"plain{number}x_{i}.jpg")
        save(root / "GroundTruth" / f"plain{number}x_1.png", MASK * 255)
    return root


def test_visal(visal_root: Path) -> None:
    dataset = visal(visal_root)
    assert (dataset.name, dataset.split, dataset.root, dataset.scored) == (
        "visal",
        "test",
        visal_root,
        annotated_frames,
    )
    assert len(dataset.sequences) == 17
    boat, boat2, gokart = dataset.sequences[:3]
    assert stems(boat) == ["boat_1", "boat_2", "boat_3", "boat_10"]  # by the number, not by the letters
    assert list(masks(boat)) == ["boat_2", "boat_10"]
    assert list(masks(boat2)) == ["boat2_003", "boat2_010"]
    assert list(masks(gokart)) == ["0002"]
    for sequence in (boat, boat2):
        for mask in masks(sequence).values():
            np.testing.assert_array_equal(mask, MASK)
    np.testing.assert_array_equal(masks(gokart)["0002"], ~MASK)


def test_visal_numbers_that_follow_a_name_that_ends_in_one(visal_root: Path) -> None:
    """`boat20.png` is frame 20 of `boat`, and not frame 0 of `boat2`, where no frame has the name."""
    for i in (0, 20):
        for name in ("boat", "boat2"):
            save(visal_root / "ViSal" / name / f"f{i}.jpg")
    save(visal_root / "GroundTruth" / "boat20.png", MASK * 255)
    boat, boat2 = visal(visal_root).sequences[:2]
    assert set(boat.annotations) == {"boat_2", "boat_10", "f20"}
    assert list(boat2.annotations) == ["boat2_003", "boat2_010"]


def test_visal_with_its_sequences_right_in_the_root(visal_root: Path) -> None:
    for path in (visal_root / "ViSal").iterdir():
        path.rename(visal_root / path.name)
    (visal_root / "ViSal").rmdir()
    assert len(visal(visal_root).sequences) == 17


def test_visal_that_does_not_fit(visal_root: Path) -> None:
    with pytest.raises(UserError, match="visal has no split 'train': the splits are test"):
        visal(visal_root, "train")
    save(visal_root / "GroundTruth" / "boat2_007.png", MASK * 255)
    with pytest.raises(UserError, match=r"mask .*boat2_007\.png has no frame"):
        visal(visal_root)
    (visal_root / "GroundTruth" / "boat2_007.png").unlink()
    for i in (1, 2, 3, 10):
        (visal_root / "ViSal" / "gokart" / f"{i:04d}.png").unlink()
    (visal_root / "ViSal" / "gokart").rmdir()
    (visal_root / "GroundTruth" / "gokart0002.png").unlink()
    with pytest.raises(UserError, match="ViSal has 16 sequences, ViSal has 17: complete it, or name those"):
        visal(visal_root)
    assert [s.name for s in visal(visal_root, sequences=["boat"]).sequences] == ["boat"]
    for path in (visal_root / "GroundTruth").glob("boat_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"no frame in sequence 'boat' of .* has a mask"):
        visal(visal_root, sequences=["boat"])


# Anyone's


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name, suffix in (("b", "png"), ("a", "JPG"), ("c", "webp")):
        for i in (8, 9, 10):
            path = save(tmp_path / "videos" / "frames" / name / f"frame{i}.png")
            if suffix != "png":
                Image.open(path).save(path.with_suffix(f".{suffix}"))
                path.unlink()
        for i in (8, 10):
            save(tmp_path / "videos" / "masks" / name / f"frame{i}.png", MASK * 255)
    (tmp_path / "videos" / "frames" / "a" / "notes.txt").write_text("not a frame")
    return tmp_path / "videos"


def test_folder(videos: Path) -> None:
    dataset = folder(videos)
    assert (dataset.name, dataset.split, dataset.root, dataset.scored) == ("folder", "all", videos, annotated_frames)
    assert [sequence.name for sequence in dataset.sequences] == ["a", "b", "c"]
    for sequence in dataset.sequences:
        assert stems(sequence) == ["frame8", "frame9", "frame10"]
        assert list(masks(sequence)) == ["frame8", "frame10"]
        np.testing.assert_array_equal(masks(sequence)["frame10"], MASK)


def test_folder_splits_are_lists(videos: Path) -> None:
    (videos / "train.txt").write_text("c\n\na\n")
    assert [s.name for s in folder(videos, "train").sequences] == ["c", "a"]
    assert [s.name for s in folder(videos, "train", ["a"]).sequences] == ["a"]
    with pytest.raises(
        UserError, match=r"no .*val\.txt: write it with a sequence's name per line, or set data\.split=all"
    ):
        folder(videos, "val")
    (videos / "val.txt").write_text("aa\n")
    with pytest.raises(UserError, match=r"no sequence 'aa'.*; did you mean 'a'"):
        folder(videos, "val")


def test_folder_that_does_not_fit(videos: Path) -> None:
    extra = save(videos / "masks" / "a" / "frame11.png", MASK)
    with pytest.raises(
        UserError, match=r"mask frame11 in sequence 'a' .* has no frame \(1 such\): add it, or remove masks/a/fr"
    ):
        folder(videos)
    extra.unlink()
    extra = save(videos / "frames" / "a" / "frame9.png")
    with pytest.raises(UserError, match=r"frame9\.\w+ and frame9\.\w+ are the same frame: keep one"):
        folder(videos)
    extra.unlink()
    extra = save(videos / "masks" / "d" / "frame1.png", MASK)
    with pytest.raises(UserError, match=r"masks/d has no frames \(1 such\): add frames/d"):
        folder(videos)
    extra.unlink()
    extra.parent.rmdir()
    (videos / "masks").rename(videos / "annotations")
    with pytest.raises(
        UserError, match=r"no folder .*masks: set data\.root .* holds masks, but .* holds annotations, frames$"
    ):
        folder(videos)


def test_pairs_of_a_sparsely_annotated_dataset(videos: Path) -> None:
    dataset = folder(videos)
    pairs = TrainingPairs(dataset, 8, Augmentation((4, 4), rotate=False), seed=0, anchor="random")
    assert {tuple(sorted(pairs[i]["key"][1:].tolist())) for i in range(8)} == {(0, 2)}  # frame9 has no mask
    assert [ValidationPairs(dataset, 3)[i]["key"].tolist() for i in range(3)] == [[0, 2], [1, 2], [2, 2]]
    (videos / "masks" / "b" / "frame8.png").unlink()
    assert ValidationPairs(folder(videos), 3)[1]["key"].tolist() == [1, 2]
    with pytest.raises(UserError, match="sequence b of folder all has fewer than two annotated frames"):
        TrainingPairs(folder(videos), 8, Augmentation((4, 4)), seed=0)


def test_fbms_takes_val_sequences_for_its_test_split(fbms_root: Path) -> None:
    (found,) = fbms(fbms_root, "test", train_sequences=["other"], val_sequences=["cats01"]).sequences
    assert found.name == "cats01"


# Further data to train on


def annotated_images(images: Path, annotations: Path, names: tuple[str, ...], labels: np.ndarray) -> None:
    for name in names:
        save(images / f"{name}.jpg")
        save(annotations / f"{name}.png", labels)


def test_duts(tmp_path: Path) -> None:
    """Outlines are soft: what is darker than half is background. Some annotations are in colour."""
    labels = np.where(MASK, 200, 90)
    for part, names in (("TR", ("img_10", "img_9")), ("TE", ("0001",))):
        top = tmp_path / f"DUTS-{part}"
        annotated_images(top / f"DUTS-{part}-Image", top / f"DUTS-{part}-Mask", names, labels)
    Image.fromarray(np.repeat(labels[..., None], 3, axis=2).astype(np.uint8)).save(
        tmp_path / "DUTS-TR" / "DUTS-TR-Mask" / "img_10.png"
    )
    train = duts(tmp_path)
    assert (train.name, train.split, train.scored) == ("duts", "train", annotated_frames)
    assert [(s.name, stems(s)) for s in train.sequences] == [("img_9", ["img_9"]), ("img_10", ["img_10"])]
    for sequence in train.sequences:
        np.testing.assert_array_equal(masks(sequence)[sequence.name], MASK)
    assert [s.name for s in duts(tmp_path, "val", train_sequences=["img_9"]).sequences] == ["0001"]
    assert [s.name for s in duts(tmp_path, train_sequences=["img_9"], val_sequences=["0001"]).sequences] == ["img_9"]
    assert [s.name for s in duts(tmp_path, sequences=["img_10"]).sequences] == ["img_10"]
    with pytest.raises(UserError, match="duts has no split 'all': the splits are train, test"):
        duts(tmp_path, "all")
    mask = tmp_path / "DUTS-TR" / "DUTS-TR-Mask" / "img_9.png"
    save(mask, np.zeros((3, 3)))
    with pytest.raises(UserError, match=r"frame img_9 in sequence 'img_9' of .* is 9x6 and its mask 3x3"):
        duts(tmp_path)
    mask.unlink()
    with pytest.raises(UserError, match=r"DUTS-TR-Mask/img_9\.png is missing \(1 such\): add it, or remove"):
        duts(tmp_path)
    (tmp_path / "DUTS-TE" / "DUTS-TE-Image").rename(tmp_path / "elsewhere")
    with pytest.raises(
        UserError, match=r"no images in .*DUTS-TE-Image: set data\.root to the folder that holds DUTS-TE/D"
    ):
        duts(tmp_path, "test")


def test_msra10k(tmp_path: Path) -> None:
    annotated_images(tmp_path / "Imgs", tmp_path / "Imgs", ("5", "12"), MASK * 255)
    train = msra10k(tmp_path)
    assert [(s.name, stems(s)) for s in train.sequences] == [("5", ["5"]), ("12", ["12"])]
    np.testing.assert_array_equal(masks(train.sequences[0])["5"], MASK)
    with pytest.raises(UserError, match="msra10k has no split 'val': the splits are train"):
        msra10k(tmp_path, "val")


def test_images(tmp_path: Path) -> None:
    annotated_images(tmp_path / "Image", tmp_path / "Mask", ("a", "b", "c"), MASK)
    assert [s.name for s in images(tmp_path).sequences] == ["a", "b", "c"]
    np.testing.assert_array_equal(masks(images(tmp_path).sequences[1])["b"], MASK)  # of 0 and 1
    (tmp_path / "val.txt").write_text("b\n")
    assert [s.name for s in images(tmp_path, "val").sequences] == ["b"]
    (tmp_path / "none.txt").touch()
    with pytest.raises(UserError, match="images none has no sequences"):
        images(tmp_path, "none")
    with pytest.raises(UserError, match=r"no sequence 'a' in this split, which has "):
        images(tmp_path, "val", ["a"])
    (tmp_path / "Image" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"Image/a\.jpg is missing"):
        images(tmp_path)


def objects(path: Path) -> None:
    """A palette image of two objects."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2:4, 3:5], labels[2:4, 5:7] = 1, 2
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 0])  # by its colour the second object would be background
    image.save(path)


def test_youtube_vos(tmp_path: Path) -> None:
    for video in ("0043f083b5", "003234408d"):
        for index in (0, 5, 7, 10):
            save(tmp_path / "train" / "JPEGImages" / video / f"{index:05d}.jpg")
        for index in (0, 5, 10):
            objects(tmp_path / "train" / "Annotations" / video / f"{index:05d}.png")
    dataset = youtube_vos(tmp_path)
    assert (dataset.name, dataset.scored) == ("youtube_vos", annotated_frames)
    assert [s.name for s in dataset.sequences] == ["003234408d", "0043f083b5"]
    for sequence in dataset.sequences:
        assert [len(stems(sequence)), list(masks(sequence))] == [4, ["00000", "00005", "00010"]]
        np.testing.assert_array_equal(masks(sequence)["00005"], MASK)
    with pytest.raises(UserError, match=r"no folder .*valid/JPEGImages: set data\.root"):
        youtube_vos(tmp_path, "valid")
    shutil.copytree(tmp_path / "train", tmp_path / "valid")
    chosen = {"train_sequences": ["003234408d"], "val_sequences": ["0043f083b5"]}
    for split, names in zip(("train", "valid"), chosen.values(), strict=True):
        assert [s.name for s in youtube_vos(tmp_path, split, **chosen).sequences] == names
    shutil.rmtree(tmp_path / "train" / "Annotations" / "0043f083b5")
    with pytest.raises(UserError, match=r"no frame in sequence '0043f083b5' of .* has a mask"):
        youtube_vos(tmp_path)


def test_davis2017(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / "JPEGImages" / "480p" / "bear" / f"{index:05d}.jpg")
        objects(tmp_path / "Annotations" / "480p" / "bear" / f"{index:05d}.png")
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "train.txt").write_text("bear\n\n")
    (bear,) = davis2017(tmp_path, "train", ["none"], train_sequences=["bear"]).sequences
    assert (bear.name, stems(bear)) == ("bear", ["00000", "00001", "00002"])
    np.testing.assert_array_equal(masks(bear)["00002"], MASK)
    with pytest.raises(UserError, match=r"no split file .*2017/val\.txt: the splits here are train; set data\.split"):
        davis2017(tmp_path)
    (tmp_path / "Annotations" / "480p" / "bear" / "00001.png").unlink()
    with pytest.raises(UserError, match=r"frame 00001 in sequence 'bear' of .* has no mask"):
        davis2017(tmp_path, "train")


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".JPEG", ".jpg"])
def test_suffixes_as_cameras_write_them(tmp_path: Path, suffix: str) -> None:
    for root, layout in (("images", ("Image", "Mask")), ("duts", ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"))):
        frames, truth = (tmp_path / root / part for part in layout)
        save(frames / f"a{suffix}")
        save(truth / "a.PNG", MASK * 255)
    for dataset in (images(tmp_path / "images"), duts(tmp_path / "duts")):
        (sequence,) = dataset.sequences
        assert [frame.name for frame in sequence.frames] == [f"a{suffix}"]
        np.testing.assert_array_equal(masks(sequence)["a"], MASK)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg"])
def test_davis_of_other_suffixes(tiny_davis: Path, suffix: str) -> None:
    for file in sorted((tiny_davis / "JPEGImages").rglob("*.jpg")):
        file.rename(file.with_suffix(suffix))
    for file in sorted((tiny_davis / "Annotations").rglob("*.png")):
        file.rename(file.with_suffix(".PNG"))
    sequence = davis2016(tiny_davis).sequences[0]
    assert len(sequence.frames) == len(sequence.annotations) == 4


def test_a_byte_order_mark_and_masks_as_jpeg(tmp_path: Path) -> None:
    for name in ("bear", "dog"):
        save(tmp_path / "frames" / name / "1.jpg")
        save(tmp_path / "masks" / name / "1.jpg", MASK * 255)
    (tmp_path / "val.txt").write_text("bear\r\n", encoding="utf-8-sig")
    (sequence,) = folder(tmp_path, "val").sequences
    assert sequence.name == "bear"
    np.testing.assert_array_equal(masks(sequence)["1"], MASK)


@pytest.mark.parametrize("forms", [("NFD", "NFC", "NFC"), ("NFC", "NFD", "NFD"), ("NFC", "NFC", "NFD")])
def test_names_in_either_form_of_unicode(tmp_path: Path, forms: tuple[str, str, str]) -> None:
    """macOS writes an umlaut as two characters (NFD), other systems as one (NFC)."""
    video, frame = "Bär", "Übung_1"
    frames, truth, predictions = (
        tmp_path / part / normalize(form, video)
        for part, form in zip(("frames", "masks", "predictions"), forms, strict=True)
    )
    save(frames / f"{normalize(forms[0], frame)}.jpg")
    for place, form in ((truth, forms[1]), (predictions, forms[2])):
        save(place / f"{normalize(form, frame)}.png", MASK * 255)
    (tmp_path / "val.txt").write_text(normalize(forms[2], video), encoding="utf-8")
    dataset = folder(tmp_path, "val")
    (sequence,) = dataset.sequences
    assert sequence.annotated == [0]
    np.testing.assert_array_equal(sequence.annotation(sequence.frames[0]), MASK)
    assert score_dataset(dataset, tmp_path / "predictions", workers=1)["mean"]["J"]["mean"] == 1
    assert [s.name for s in folder(tmp_path, sequences=[normalize(forms[2], video)]).sequences] == [frames.name]


def test_a_folder_per_object_is_named(tmp_path: Path) -> None:
    save(tmp_path / "frames" / "bear" / "1.jpg")
    for number in (1, 2):
        save(tmp_path / "masks" / "bear" / str(number) / "1.png", MASK * 255)
    with pytest.raises(
        UserError, match=r"no frame in .* has a mask, but .*bear has folders with images \(1, 2\), perhaps"
    ):
        folder(tmp_path)


def test_a_mask_of_another_orientation_is_of_another_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for part in ("frames", "masks"):
        (tmp_path / part / "walk").mkdir(parents=True)
    Image.new("RGB", (9, 6)).save(tmp_path / "frames" / "walk" / "1.jpg", exif=exif)
    Image.fromarray(MASK.T).save(tmp_path / "masks" / "walk" / "1.png")
    (sequence,) = folder(tmp_path).sequences
    np.testing.assert_array_equal(masks(sequence)["1"], MASK.T)
    Image.fromarray(MASK).save(tmp_path / "masks" / "walk" / "1.png")
    with pytest.raises(UserError, match="is 6x9 and its mask 9x6, both upright: resize one"):
        folder(tmp_path)


def test_an_animation_is_no_frame(tmp_path: Path) -> None:
    save(tmp_path / "masks" / "walk" / "1.png", MASK)
    (tmp_path / "frames" / "walk").mkdir(parents=True)
    pictures = [Image.new("RGB", (9, 6), (k, 0, 0)) for k in (0, 99)]
    pictures[0].save(tmp_path / "frames" / "walk" / "1.webp", save_all=True, append_images=pictures[1:])
    with pytest.raises(UserError, match=r"1\.webp holds 2 pictures, where one is needed"):
        folder(tmp_path)


@pytest.mark.parametrize(
    ("frames", "masks", "message"),
    [
        (["0.jpg"], ["0.png"], r"no folder of images in .*frames, but .*frames holds \.jpg: put each video's frames in a folder"),
        (["walk.mp4"], ["walk/0.png"], r"no folder of images in .*frames, but .*frames holds \.mp4: put each video's frames"),
        (["walk/0.jpg"], ["walk.mp4"], r"no frame in sequence 'walk' of .* has a mask, but .*masks holds walk\.mp4: leave the"),
        (["walk/rgb/0.jpg"], ["walk/0.png"], r"no images in .*frames/walk, but .*walk has folders with images \(rgb\): put the"),
        (["walk/0.txt"], ["walk/0.png"], r"no images in .*frames/walk, but .*frames/walk holds \.txt: put the frames th"),
        (["walk/0.jpg"], ["walk/0_mask.png"], r"no mask in .*masks/walk is called like its frame: masks are called 0_mask, frame"),
        (["walk/0.jpg"], ["walk/0.jpg.png"], r"masks are called 0\.jpg, frames 0; rename the masks"),
        (["walk/00007.jpg", "walk/00008.jpg"], ["walk/7.png", "walk/8.png"], r"masks are called 7, 8, frames 00007, 00008; rename"),
        (["walk/IMG_1.JPG"], ["walk/img_1.png"], r"masks are called img_1, frames IMG_1; rename the masks"),
    ],
)  # fmt: skip
def test_what_lies_in_a_folder_as_tools_write_it_is_named(
    tmp_path: Path, frames: list[str], masks: list[str], message: str
) -> None:
    for part, names in (("frames", frames), ("masks", masks)):
        for name in names:
            file = tmp_path / part / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix.lower() in (".jpg", ".png"):
                save(file, MASK * 255 if part == "masks" else None)
            else:
                file.write_text("no image")
    with pytest.raises(UserError, match=message) as caught:
        folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_masks_with_a_suffix_beside_images(tmp_path: Path) -> None:
    annotated_images(tmp_path / "Image", tmp_path / "Image2", ("a", "b"), MASK)
    for name in ("a", "b"):
        save(tmp_path / "Mask" / f"{name}_mask.png", MASK)
    with pytest.raises(
        UserError, match=r"no mask in .*Mask is called like its frame: masks are called a_mask, b_mask, fr"
    ):
        images(tmp_path)


def test_what_systems_and_editors_leave_is_no_part_of_a_dataset(tmp_path: Path) -> None:
    for number in (0, 1):
        save(tmp_path / "frames" / "my clip 100% (1)" / f"a {number} %20.jpg")
        save(tmp_path / "masks" / "my clip 100% (1)" / f"a {number} %20.png", MASK * 255)
    left = (
        "Thumbs.db",
        "desktop.ini",
        ".DS_Store",
        "._a 0 %20.jpg",
        "~$a.docx",
        "@eaDir/a.jpg/SYNO.jpg",
        "b.jpg/c.jpg",
    )
    for part in ("frames", "masks"):
        inside = tmp_path / part / "my clip 100% (1)"
        for file in [inside / name for name in left] + [inside.parent / "__MACOSX" / "clip" / "._0.jpg"]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"rubbish")
    (sequence,) = folder(tmp_path).sequences
    assert stems(sequence) == ["a 0 %20", "a 1 %20"] == list(sequence.annotations)
