"""The datasets on disk, each as a `VideoDataset`, checked before anything is computed from it.

Every function takes `root` (the dataset's folder), `split`, and `sequences` (keep only these). Those with a split to train on
and one to validate on also take `train_sequences` and `val_sequences`, which take precedence over `sequences` in their split.
All raise UserError for a missing root or split, an unknown sequence, an annotation without a frame or of another size, and a
video of fewer than two frames. An image is a sequence of one frame.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from collections.abc import Sequence as SequenceABC
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import Field, PositiveInt

from adnet.data.fbms_annotations import fbms_annotations
from adnet.data.sequence import Sequence, VideoDataset
from adnet.data.sequence_files import (
    PICTURES,
    check_names,
    check_number,
    checked_sequence,
    composed,
    dataset_root,
    entry,
    frame_numbered,
    images_in,
    lying_in,
    select,
    subfolders,
    wanted_of,
)
from adnet.data.synthetic import synthesize
from adnet.errors import UserError
from adnet.shared.files import read_lines

FBMS = {"train": ("Trainingset", 29), "test": ("Testset", 30)}  # folder and number of sequences of each split
VISAL_SEQUENCES = 17
DUTS = {"train": "DUTS-TR", "test": "DUTS-TE"}

JPEG = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})

GREY = (0, *range(128, 256), *(0x010101 * level for level in range(128, 256)))
"""Regions of annotations with soft edges, in grey or in colour: foreground from half the brightness upwards."""

Part = TypeVar("Part")
Root = str | Path
Keep = SequenceABC[str] | None
"""Names of the sequences to keep; None: all."""


def davis2016(
    root: Root,
    split: str = "val",
    sequences: Keep = None,
    name: str = "davis2016",
    train_sequences: Keep = None,
    val_sequences: Keep = None,
) -> VideoDataset:
    """Find DAVIS-2016 at 480p (Perazzi et al., CVPR 2016): 30 sequences in `train`, 20 in `val`.

    `root` holds `JPEGImages/480p`, `Annotations/480p` and the official split files in `ImageSets/480p`, and may hold
    `db_info.yml` with the sequences' attributes. Also raises UserError for a frame without a mask.

    Examples:
        >>> root = synthesize(Path("davis"), train=2, val=1, frames=3, size=(48, 80))
        >>> len(davis2016(root, "train").sequences)
        2
    """
    wanted = wanted_of(split, sequences, train_sequences, val_sequences)
    return _davis(name, dataset_root(root), split, "480p", wanted)


def davis2017(
    root: Root, split: str = "val", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find DAVIS-2017 at 480p (Pont-Tuset et al., arXiv:1704.00675): 60 sequences in `train`, 30 in `val`.

    All objects are one foreground. As for `davis2016`, except that the split files are in `ImageSets/2017` and name one
    sequence per line.
    """
    wanted = wanted_of(split, sequences, train_sequences, val_sequences)
    return _davis("davis2017", dataset_root(root), split, "2017", wanted)


def _davis(name: str, root: Path, split: str, splits: str, wanted: Keep) -> VideoDataset:
    """Find the sequences that `ImageSets/<splits>/<split>.txt` lists, by their names or by the paths of their frames."""
    split_file = root / "ImageSets" / splits / f"{split}.txt"
    if not split_file.is_file():
        known = ", ".join(sorted(path.stem for path in split_file.parent.glob("*.txt"))) or "none"
        raise UserError(f"no split file {split_file}: the splits here are {known}; set data.split")
    listed = (Path(line.split()[0]) for line in read_lines(split_file))
    names = dict.fromkeys(path.parent.name or path.name for path in listed)
    attributes = davis_attributes(root)
    found = []
    for sequence in select(names, wanted):
        folders = entry(root / "JPEGImages" / "480p", sequence), entry(root / "Annotations" / "480p", sequence)
        frames, masks = map(images_in, folders)
        check_names(frames, masks)
        if alone := sorted(frames.keys() - masks.keys()):
            file = f"Annotations/480p/{sequence}/{alone[0]}.png"
            instead = "" if masks else lying_in(folders[1])
            raise UserError(
                f"frame {alone[0]} in sequence {sequence!r} of {root} has no mask ({len(alone)} such){instead}: add {file}"
            )
        found.append(checked_sequence(root, sequence, frames, masks, attributes.get(sequence, ()), folders=folders))
    return VideoDataset(name, split, root, tuple(found), scored="inner")


def synthetic(
    root: Root,
    split: Literal["train", "val"] = "val",
    sequences: Keep = None,
    train: PositiveInt = 24,
    val: PositiveInt = 6,
    frames: Annotated[int, Field(ge=2)] = 16,
    size: tuple[int, int] = (240, 432),
    seed: int = 0,
    train_sequences: Keep = None,
    val_sequences: Keep = None,
) -> VideoDataset:
    """Generate synthetic videos into `root`, once (see `adnet.data.synthetic`), and find them as in DAVIS-2016.

    Examples:
        >>> dataset = synthetic("videos", train=1, val=1, frames=3, size=(48, 80))
        >>> dataset.name, [sequence.name for sequence in dataset.sequences]
        ('synthetic', ['val-000'])
    """
    synthesize(Path(root), train=train, val=val, frames=frames, size=(size[0], size[1]), seed=seed)
    return davis2016(root, split, sequences, "synthetic", train_sequences, val_sequences)


def fbms(
    root: Root, split: str = "test", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find FBMS-59 (Ochs et al., PAMI 2014): 29 sequences in `train`, 30 in `test`, with a few frames of each annotated.

    `root` holds `Trainingset` and `Testset` as in the archives: `<sequence>/*.jpg`, and in `<sequence>/GroundTruth` a
    `*Def.dat` that lists the annotated frames and the regions' labels, and each annotation: `*_gt.ppm` in colour, or the
    listed file, `*.pgm` in grey. All regions but the first are one foreground. `val` is another name for `test`.

    Also raises UserError for a missing definition or annotation, and for a wrong number of sequences unless some are named.
    """
    root = dataset_root(root)
    split, (part, number) = _look_up("FBMS", split, FBMS)
    sequences = wanted_of(split, sequences, train_sequences, val_sequences)
    names = subfolders(root / part)
    if not sequences:
        check_number("FBMS", root / part, names, number)
    found = []
    for name in select(names, sequences):
        video = root / part / name
        frames = {stem: path for stem, path in images_in(video).items() if path.suffix.lower() == ".jpg"}
        masks, regions = fbms_annotations(video / "GroundTruth", frames)
        found.append(checked_sequence(root / part, name, frames, masks, regions=regions))
    return VideoDataset("fbms", split, root, tuple(found), scored="all")


def _look_up(dataset: str, split: str, splits: Mapping[str, Part]) -> tuple[str, Part]:
    """Return the split, `test` for `val`, and its entry in `splits`. Raises UserError for an unknown one."""
    split = "test" if split == "val" else split
    if split not in splits:
        raise UserError(f"{dataset} has no split {split!r}: the splits are {', '.join(splits)}; set data.split")
    return split, splits[split]


def visal(root: Root, split: str = "test", sequences: Keep = None) -> VideoDataset:
    """Find ViSal (Wang et al., TIP 2015): 17 sequences with 193 annotated frames, for testing only.

    `root` holds `ViSal/<sequence>/` with frames of any image format, and one flat `GroundTruth/`, whose files are named
    like the frame, or by the sequence and the frame's number. (`<sequence>/` may also lie directly in `root`.)

    Also raises UserError for a sequence without annotation, and for a wrong number of sequences unless some are named.
    """
    root = dataset_root(root)
    if split not in ("test", "val"):
        raise UserError(f"ViSal has no split {split!r}: it is for testing only; set data.split=test")
    videos = root / "ViSal" if (root / "ViSal").is_dir() else root
    names = [name for name in subfolders(videos) if name != "GroundTruth"]
    if not sequences:
        check_number("ViSal", videos, names, VISAL_SEQUENCES)
    frames = {name: images_in(videos / name) for name in names}
    masks: dict[str, dict[str, Path]] = {name: {} for name in names}
    for path in images_in(root / "GroundTruth").values():
        owner, stem = _visal_frame(path, frames)
        masks[owner][stem] = path
    found = tuple(checked_sequence(root, name, frames[name], masks[name]) for name in select(names, sequences))
    return VideoDataset("visal", "test", root, found, scored="all")


def youtube_vos(
    root: Root, split: str = "train", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find YouTube-VOS (Xu et al., arXiv:1809.03327): 3,471 videos in `train`; all objects are one foreground.

    `root` holds `<split>/JPEGImages/<video>/*.jpg`, with or without the frames between those annotated, and
    `<split>/Annotations/<video>/*.png`. Also raises UserError for a video without annotation.
    """
    root = dataset_root(root)
    videos, truth = root / split / "JPEGImages", root / split / "Annotations"
    found = (
        checked_sequence(root, name, images_in(folders[0]), images_in(folders[1]), folders=folders)
        for name in select(subfolders(videos), wanted_of(split, sequences, train_sequences, val_sequences))
        for folders in [(videos / name, truth / name)]
    )
    return VideoDataset("youtube_vos", split, root, tuple(found), scored="all")


def duts(
    root: Root, split: str = "train", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find DUTS (Wang et al., CVPR 2017), images of salient objects: 10,553 in `train`, 5,019 in `test` (or `val`).

    `root` holds `DUTS-TR` and `DUTS-TE` as in the archives: `DUTS-TR-Image/*.jpg` and `DUTS-TR-Mask/*.png`, and so on.
    """
    root = dataset_root(root)
    split, part = _look_up("DUTS", split, DUTS)
    wanted = wanted_of(split, sequences, train_sequences, val_sequences)
    found = _stills(root, root / part / f"{part}-Image", root / part / f"{part}-Mask", wanted, GREY)
    return VideoDataset("duts", split, root, found, scored="all")


def msra10k(root: Root, split: str = "train", sequences: Keep = None) -> VideoDataset:
    """Find MSRA10K (Cheng et al., PAMI 2015), 10,000 images of salient objects, all in `train`.

    `root` holds `Imgs/*.jpg` with the annotations `Imgs/*.png` beside them.
    """
    root = dataset_root(root)
    if split != "train":
        raise UserError(f"MSRA10K has no split {split!r}: it is for training only; set data.split=train")
    found = _stills(root, root / "Imgs", root / "Imgs", sequences, GREY, suffixes=(JPEG, {".png"}))
    return VideoDataset("msra10k", split, root, found, scored="all")


def images(
    root: Root, split: str = "all", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find your own images in `root/Image` and their masks in `root/Mask`, where a mask has its image's name; of any format.

    The split `all` is every image; any other is a text file `root/<split>.txt` with an image's name, without suffix, per line.
    """
    root = dataset_root(root)
    wanted = wanted_of(split, sequences, train_sequences, val_sequences)
    listed = None if split == "all" else _listed(root, split)
    found = _stills(root, root / "Image", root / "Mask", wanted, listed=listed)
    return VideoDataset("images", split, root, found, scored="all")


def _stills(
    root: Path,
    images: Path,
    masks: Path,
    wanted: Keep,
    regions: tuple[int, ...] = (),
    listed: Keep = None,
    suffixes: tuple[Collection[str], Collection[str]] = (PICTURES, PICTURES),
) -> tuple[Sequence, ...]:
    """Find images, each a sequence of one frame: of the `listed` ones (None: all), those `wanted`.

    `suffixes` are those of the images and of the masks.

    Raises UserError for an image without a mask or a mask without an image.
    """
    frames, annotations = images_in(images, suffixes[0]), images_in(masks, suffixes[1])
    if not frames:
        raise UserError(f"no images in {images}: set data.root to the folder that holds {images.relative_to(root)}")
    check_names(frames, annotations)
    if alone := sorted(frames.keys() ^ annotations.keys()):
        missing = masks / f"{alone[0]}.png" if alone[0] in frames else images / f"{alone[0]}.jpg"
        raise UserError(f"{missing} is missing ({len(alone)} such): add it, or remove its counterpart")
    return tuple(
        checked_sequence(root, name, {name: frames[name]}, {name: annotations[name]}, regions=regions, least=1)
        for name in select(select(frames, listed), wanted)
    )


def folder(
    root: Root, split: str = "all", sequences: Keep = None, train_sequences: Keep = None, val_sequences: Keep = None
) -> VideoDataset:
    """Find your own videos: `root/frames/<sequence>/` and `root/masks/<sequence>/`, images of any format.

    A mask has its frame's name; frames without one don't count, and a sequence may be a single image. The split `all` is
    every sequence; any other is a text file `root/<split>.txt` with a sequence's name per line. Also raises UserError for a
    sequence without masks and for a folder in `masks` without frames.
    """
    root = dataset_root(root)
    names = subfolders(root / "frames")
    if not names:
        raise UserError(
            f"no folder of images in {root / 'frames'}{lying_in(root / 'frames', masks=False)}: put each video's frames in a folder "
            "of its own, such as frames/video1"
        )
    if alone := sorted({*map(composed, subfolders(root / "masks"))} - {*map(composed, names)}):
        raise UserError(f"{root / 'masks' / alone[0]} has no frames ({len(alone)} such): add frames/{alone[0]}")
    if split != "all":
        listed = _listed(root, split)
        select(names, listed)  # so that an unknown one is named
        names = listed
    found = (
        checked_sequence(root, name, images_in(folders[0]), images_in(folders[1]), least=1, folders=folders)
        for name in select(names, wanted_of(split, sequences, train_sequences, val_sequences))
        for folders in [(entry(root / "frames", name), entry(root / "masks", name))]
    )
    return VideoDataset("folder", split, root, tuple(found), scored="all")


def _listed(root: Path, split: str) -> list[str]:
    file = root / f"{split}.txt"
    if not file.is_file():
        raise UserError(f"no {file}: write it with a sequence's name per line, or set data.split=all")
    return read_lines(file)


def davis_attributes(root: Path) -> dict[str, tuple[str, ...]]:
    """Read each sequence's attributes from `root/db_info.yml`, if it exists. Raises UserError if it can't be read."""
    file = root / "db_info.yml"
    if not file.is_file():
        return {}
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["sequences"]
        return {str(entry["name"]): tuple(map(str, entry["attributes"])) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file}: cannot be read as the sequences' attributes ({type(error).__name__}: {reason}); replace it"
        ) from error


def _visal_frame(mask: Path, frames: Mapping[str, Mapping[str, Path]]) -> tuple[str, str]:
    """Find the sequence and frame of an annotation: `boat2_003` belongs to `boat2`, although it also starts with `boat`."""
    owners = sorted((name for name in frames if mask.stem.startswith(name)), key=len, reverse=True)
    for owner in owners:
        if mask.stem in frames[owner]:
            return owner, mask.stem
    for owner in owners:
        # Digits right after the name are the frame's number, unless the name itself ends in digits.
        named = re.fullmatch(rf"{re.escape(owner)}(?:[\W_]+|(?<!\d))(\d+)", mask.stem)
        if named and (stem := frame_numbered(named[1], frames[owner])):
            return owner, stem
    raise UserError(f"mask {mask} has no frame in a sequence of its name: add the frame, or remove the mask")
