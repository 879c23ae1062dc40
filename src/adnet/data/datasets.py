"""The datasets on disk, each as a `VideoDataset`, checked before anything is computed from it.

Every function takes `root` (where the dataset lies), `split`, and `sequences` (keep only the named ones); those with a split
to train on and one to validate on also `train_sequences` and `val_sequences`, which go before `sequences` in their split. All
raise UserError for a missing root or split, an unknown sequence, an annotation without a frame or of another size, and a video
of fewer than two frames. An image is a sequence of one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from collections.abc import Sequence as SequenceABC
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, PositiveInt

from adnet.data.fbms_definition import read_definition
from adnet.data.sequence import Sequence, VideoDataset, image_size
from adnet.data.synthetic import synthesize
from adnet.errors import UserError
from adnet.shared.files import read_lines

IMAGES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}

FBMS = {"train": ("Trainingset", 29), "test": ("Testset", 30)}  # folder and number of sequences of each split
VISAL_SEQUENCES = 17
DUTS = {"train": "DUTS-TR", "test": "DUTS-TE"}

GREY = (0, *range(128, 256), *(0x010101 * level for level in range(128, 256)))
"""Regions of annotations with soft edges, in grey or colour: from half of the brightness on it is foreground."""


def davis2016(
    root: str | Path,
    split: str = "val",
    sequences: SequenceABC[str] | None = None,
    name: str = "davis2016",
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """DAVIS-2016 at 480p (Perazzi et al., CVPR 2016): 30 sequences in `train`, 20 in `val`.

    `root` holds `JPEGImages/480p`, `Annotations/480p` and the official split files in `ImageSets/480p`, and may hold
    `db_info.yml` with the sequences' attributes. Raises UserError, besides, for a frame without a mask.

    Examples:
        >>> root = synthesize(Path("davis"), train=2, val=1, frames=3, size=(48, 80))
        >>> len(davis2016(root, "train").sequences)
        2
    """
    root = _root(root)
    names = dict.fromkeys(
        Path(line.split()[0]).parent.name for line in _davis_split(root / "ImageSets" / "480p", split)
    )
    wanted = _of_split(split, sequences, train_sequences, val_sequences)
    return VideoDataset(name, split, root, _davis(root, names, wanted), scored="inner")


def davis2017(
    root: str | Path,
    split: str = "val",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """DAVIS-2017 at 480p (Pont-Tuset et al., arXiv:1704.00675): 60 sequences in `train`, 30 in `val`; all objects are one foreground.

    As `davis2016` but for the split files, which are in `ImageSets/2017` and name a sequence on each line.
    """
    root = _root(root)
    names = _davis_split(root / "ImageSets" / "2017", split)
    wanted = _of_split(split, sequences, train_sequences, val_sequences)
    return VideoDataset("davis2017", split, root, _davis(root, names, wanted), scored="inner")


def _davis_split(folder: Path, split: str) -> list[str]:
    file = folder / f"{split}.txt"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "none"
        raise UserError(f"no split file {file}: the splits here are {known}; set data.split")
    return read_lines(file)


def _davis(root: Path, names: Collection[str], wanted: SequenceABC[str] | None) -> tuple[Sequence, ...]:
    attributes = davis_attributes(root)
    found = []
    for sequence in _select(names, wanted):
        frames = {path.stem: path for path in sorted((root / "JPEGImages" / "480p" / sequence).glob("*.jpg"))}
        masks = {path.stem: path for path in sorted((root / "Annotations" / "480p" / sequence).glob("*.png"))}
        if alone := sorted(frames.keys() - masks.keys()):
            raise UserError(
                f"frame {alone[0]} in sequence {sequence!r} of {root} has no mask ({len(alone)} such): add "
                f"Annotations/480p/{sequence}/{alone[0]}.png"
            )
        found.append(_sequence(root, sequence, frames, masks, attributes=attributes.get(sequence, ())))
    return tuple(found)


def synthetic(
    root: str | Path,
    split: Literal["train", "val"] = "val",
    sequences: SequenceABC[str] | None = None,
    train: PositiveInt = 24,
    val: PositiveInt = 6,
    frames: Annotated[int, Field(ge=2)] = 16,
    size: tuple[int, int] = (240, 432),
    seed: int = 0,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """Synthetic videos, generated once into `root` (see `adnet.data.synthetic`) and read as DAVIS-2016 is.

    Examples:
        >>> dataset = synthetic("videos", train=1, val=1, frames=3, size=(48, 80))
        >>> dataset.name, [sequence.name for sequence in dataset.sequences]
        ('synthetic', ['val-000'])
    """
    synthesize(Path(root), train=train, val=val, frames=frames, size=(size[0], size[1]), seed=seed)
    return davis2016(root, split, sequences, "synthetic", train_sequences, val_sequences)


def fbms(
    root: str | Path,
    split: str = "test",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """FBMS-59 (Ochs et al., PAMI 2014): 29 sequences in `train`, 30 in `test`, a few frames of each annotated.

    `root` holds `Trainingset` and `Testset` as the archives have them: `<sequence>/*.jpg`, and in `<sequence>/GroundTruth` a
    `*Def.dat` that lists the annotated frames and the regions' labels, and an annotation for each: `*_gt.ppm` in colour, or
    the file that is listed, `*.pgm` in grey. All regions but the first are one foreground. `val` is another name of `test`.

    Raises UserError, besides, for a missing definition or annotation, and, unless `sequences` are named, for another number
    of sequences.
    """
    root, split = _root(root), "test" if split == "val" else split
    if split not in FBMS:
        raise UserError(f"FBMS has no split {split!r}: the splits are {', '.join(FBMS)}; set data.split")
    part, number = FBMS[split]
    sequences = _of_split(split, sequences, train_sequences, val_sequences)
    names = _folders(root / part)
    if not sequences:
        _check_number("FBMS", root / part, names, number)
    found = tuple(_fbms_sequence(root / part, name) for name in _select(names, sequences))
    return VideoDataset("fbms", split, root, found, scored="all")


def visal(root: str | Path, split: str = "test", sequences: SequenceABC[str] | None = None) -> VideoDataset:
    """ViSal (Wang et al., TIP 2015): 17 sequences, 193 frames annotated; nothing to train on.

    `root` holds `ViSal/<sequence>/` with frames of any image format and one flat `GroundTruth/`, whose files are named as
    the frame is, or by the sequence and the frame's number. (`<sequence>/` right in `root` is taken, too.)

    Raises UserError, besides, for a sequence without annotation, and, unless `sequences` are named, for another number of
    sequences.
    """
    root = _root(root)
    if split not in ("test", "val"):
        raise UserError(f"ViSal has no split {split!r}: it is there to test on; set data.split=test")
    videos = root / "ViSal" if (root / "ViSal").is_dir() else root
    names = [name for name in _folders(videos) if name != "GroundTruth"]
    if not sequences:
        _check_number("ViSal", videos, names, VISAL_SEQUENCES)
    frames = {name: _images(videos / name) for name in names}
    masks: dict[str, dict[str, Path]] = {name: {} for name in names}
    for path in _images(root / "GroundTruth").values():
        owner, stem = _visal_frame(path, frames)
        masks[owner][stem] = path
    found = tuple(_sequence(root, name, frames[name], masks[name]) for name in _select(names, sequences))
    return VideoDataset("visal", "test", root, found, scored="all")


def youtube_vos(
    root: str | Path,
    split: str = "train",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """YouTube-VOS (Xu et al., arXiv:1809.03327): 3,471 videos in `train`; all objects are one foreground.

    `root` holds `<split>/JPEGImages/<video>/*.jpg`, with or without the frames between those annotated, and
    `<split>/Annotations/<video>/*.png`. Raises UserError, besides, for a video without annotation.
    """
    root = _root(root)
    videos, truth = root / split / "JPEGImages", root / split / "Annotations"
    found = (
        _sequence(root, name, _images(videos / name), _images(truth / name))
        for name in _select(_folders(videos), _of_split(split, sequences, train_sequences, val_sequences))
    )
    return VideoDataset("youtube_vos", split, root, tuple(found), scored="all")


def duts(
    root: str | Path,
    split: str = "train",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """DUTS (Wang et al., CVPR 2017), images of salient objects: 10,553 in `train`, 5,019 in `test`, of which `val` is another name.

    `root` holds `DUTS-TR` and `DUTS-TE` as the archives have them: `DUTS-TR-Image/*.jpg` and `DUTS-TR-Mask/*.png`, and so on.
    """
    root, split = _root(root), "test" if split == "val" else split
    if split not in DUTS:
        raise UserError(f"DUTS has no split {split!r}: the splits are {', '.join(DUTS)}; set data.split")
    part = DUTS[split]
    wanted = _of_split(split, sequences, train_sequences, val_sequences)
    found = _stills(root, root / part / f"{part}-Image", root / part / f"{part}-Mask", wanted, GREY)
    return VideoDataset("duts", split, root, found, scored="all")


def msra10k(root: str | Path, split: str = "train", sequences: SequenceABC[str] | None = None) -> VideoDataset:
    """MSRA10K (Cheng et al., PAMI 2015), 10,000 images of salient objects, all of them in `train`.

    `root` holds `Imgs/*.jpg` with the annotations `Imgs/*.png` beside them.
    """
    root = _root(root)
    if split != "train":
        raise UserError(f"MSRA10K has no split {split!r}: it is there to train on; set data.split=train")
    return VideoDataset(
        "msra10k", split, root, _stills(root, root / "Imgs", root / "Imgs", sequences, GREY), scored="all"
    )


def images(
    root: str | Path,
    split: str = "all",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """Anyone's images: `root/Image/*.jpg` and `root/Mask/*.png`, a mask of the name of its image.

    The split `all` is every image; any other is a text file `root/<split>.txt` with the name of an image, without its ending, on
    each line.
    """
    root = _root(root)
    wanted = _of_split(split, sequences, train_sequences, val_sequences)
    listed = None if split == "all" else _listed(root, split)
    found = _stills(root, root / "Image", root / "Mask", wanted, listed=listed)
    return VideoDataset("images", split, root, found, scored="all")


def _stills(
    root: Path,
    images: Path,
    masks: Path,
    wanted: SequenceABC[str] | None,
    regions: tuple[int, ...] = (),
    listed: SequenceABC[str] | None = None,
) -> tuple[Sequence, ...]:
    """Images, each a sequence of one frame; of those `listed`, where there is a list, the ones `wanted`.

    Raises UserError for an image without a mask and the other way round.
    """
    frames, annotations = (
        {path.stem: path for path in sorted(folder.glob(pattern), key=_numbers)}
        for folder, pattern in ((images, "*.jpg"), (masks, "*.png"))
    )
    if not frames:
        raise UserError(f"no *.jpg in {images}: set data.root to the folder that holds {images.relative_to(root)}")
    if alone := sorted(frames.keys() ^ annotations.keys()):
        missing = masks / f"{alone[0]}.png" if alone[0] in frames else images / f"{alone[0]}.jpg"
        raise UserError(f"{missing} is missing ({len(alone)} such): add it, or remove its counterpart")
    return tuple(
        _sequence(root, name, {name: frames[name]}, {name: annotations[name]}, regions=regions, least=1)
        for name in _select(_select(frames, listed), wanted)
    )


def folder(
    root: str | Path,
    split: str = "all",
    sequences: SequenceABC[str] | None = None,
    train_sequences: SequenceABC[str] | None = None,
    val_sequences: SequenceABC[str] | None = None,
) -> VideoDataset:
    """Anyone's videos: `root/frames/<sequence>/` and `root/masks/<sequence>/`, images of any format.

    A mask has the name of its frame; frames without one don't count, and a sequence may be one image. The split `all` is every
    sequence; any other is a text file `root/<split>.txt` with the name of a sequence on each line. Raises UserError, besides, for a
    sequence without masks and for a folder in `masks` without frames.
    """
    root = _root(root)
    names = _folders(root / "frames")
    if alone := sorted({*_folders(root / "masks")} - {*names}):
        raise UserError(f"{root / 'masks' / alone[0]} has no frames ({len(alone)} such): add frames/{alone[0]}")
    if split != "all":
        listed = _listed(root, split)
        _select(names, listed)
        names = listed
    found = (
        _sequence(root, name, _images(root / "frames" / name), _images(root / "masks" / name), least=1)
        for name in _select(names, _of_split(split, sequences, train_sequences, val_sequences))
    )
    return VideoDataset("folder", split, root, tuple(found), scored="all")


def _listed(root: Path, split: str) -> list[str]:
    file = root / f"{split}.txt"
    if not file.is_file():
        raise UserError(f"no {file}: write the name of a sequence on each line, or set data.split=all")
    return read_lines(file)


def _root(root: str | Path) -> Path:
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no dataset at {root}: set data.root, or ADNET_DATA to the folder that holds {root.name}")
    return root


def _folders(path: Path) -> list[str]:
    if not path.is_dir():
        raise UserError(f"no folder {path}: set data.root to the folder that holds {path.name}")
    return sorted(child.name for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _images(path: Path) -> dict[str, Path]:
    """The images in a folder by their stems, in the order of the numbers in their names."""
    found: dict[str, Path] = {}
    files = [file for file in path.glob("*") if file.suffix.lower() in IMAGES and not file.name.startswith(".")]
    for file in sorted(files, key=_numbers):
        if file.stem in found:
            raise UserError(f"{file} and {found[file.stem].name} are the same frame: keep one of them")
        found[file.stem] = file
    return found


def _numbers(path: Path) -> list[tuple[int, str]]:
    """Compares `frame9` before `frame10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.stem)]


def _of_split(
    split: str,
    sequences: SequenceABC[str] | None,
    train_sequences: SequenceABC[str] | None,
    val_sequences: SequenceABC[str] | None,
) -> SequenceABC[str] | None:
    """The sequences that are asked for of a split; `test` and `valid` are other names of `val`."""
    of_split = {"train": train_sequences, **dict.fromkeys(("val", "valid", "test"), val_sequences)}
    return of_split.get(split) or sequences


def _select(known: Collection[str], wanted: SequenceABC[str] | None) -> list[str]:
    for sequence in wanted or ():
        if sequence not in known:
            near = get_close_matches(sequence, known, n=1)
            raise UserError(
                f"no sequence {sequence!r} in this split"
                + (
                    f"; did you mean {near[0]!r}?"
                    if near
                    else f" of {len(known)}; data.train_sequences and data.val_sequences each name those of one split"
                )
            )
    return [sequence for sequence in known if not wanted or sequence in wanted]


def _check_number(dataset: str, path: Path, names: SequenceABC[str], number: int) -> None:
    if len(names) != number:
        raise UserError(
            f"{path} has {len(names)} sequences and {dataset} {number}: complete it, or name those to use in data.sequences"
        )


def _sequence(
    root: Path,
    name: str,
    frames: Mapping[str, Path],
    masks: Mapping[str, Path],
    attributes: tuple[str, ...] = (),
    regions: tuple[int, ...] = (),
    least: int = 2,
) -> Sequence:
    where = f"in sequence {name!r} of {root}"
    if alone := sorted(masks.keys() - frames.keys()):
        raise UserError(
            f"mask {alone[0]} {where} has no frame ({len(alone)} such): add it, or remove "
            f"{masks[alone[0]].relative_to(root)}"
        )
    if len(frames) < least:
        raise UserError(f"{len(frames)} frame(s) {where}: a pair takes an anchor and one more; leave the sequence out")
    if not masks:
        raise UserError(f"no frame {where} has a mask: leave the sequence out")
    for stem, mask in masks.items():
        size, mask_size = image_size(frames[stem]), image_size(mask)
        if size != mask_size:
            raise UserError(
                f"frame {stem} {where} is {size[1]}x{size[0]} and its mask {mask_size[1]}x{mask_size[0]}: resize one"
            )
    return Sequence(name, tuple(frames.values()), masks, attributes, regions)


def davis_attributes(root: Path) -> dict[str, tuple[str, ...]]:
    """Read the attributes of each sequence from `root/db_info.yml`; none without it. Raises UserError if it can't be read."""
    file = root / "db_info.yml"
    if not file.is_file():
        return {}
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["sequences"]
        return {str(entry["name"]): tuple(map(str, entry["attributes"])) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file}: cannot be read as the sequences' attributes ({type(error).__name__}: {reason}); replace the file"
        ) from error


def _fbms_sequence(root: Path, name: str) -> Sequence:
    frames = {stem: path for stem, path in _images(root / name).items() if path.suffix.lower() == ".jpg"}
    truth = root / name / "GroundTruth"
    definition = read_definition(truth)
    masks = {}
    for file, frame in definition.frames:
        stem = Path(file).stem.removesuffix("_gt")
        # Probabilities of an annotation (*PROB*) lie beside it, and none is ever listed.
        candidates = [
            path for path in (truth / f"{stem}_gt.ppm", truth / file, truth / f"{stem}.pgm") if path.is_file()
        ]
        if not candidates:
            raise UserError(f"no annotation {truth / file}, which {definition.file.name} lists: complete the dataset")
        number = re.search(r"\d+$", stem)
        named = next((name for name in (Path(frame).stem, stem) if name in frames), None)
        masks[named or (number and _frame_of(number[0], frames)) or stem] = candidates[0]
    return _sequence(root, name, frames, masks, regions=definition.regions)


def _frame_of(number: str, frames: Mapping[str, Path]) -> str | None:
    """The frame whose name ends in that number."""
    return next((stem for stem in frames if (end := re.search(r"\d+$", stem)) and int(end[0]) == int(number)), None)


def _visal_frame(mask: Path, frames: Mapping[str, Mapping[str, Path]]) -> tuple[str, str]:
    """Sequence and frame of an annotation: `boat2_003` is of `boat2`, though its name starts with `boat`, too."""
    owners = sorted((name for name in frames if mask.stem.startswith(name)), key=len, reverse=True)
    for owner in owners:
        if mask.stem in frames[owner]:
            return owner, mask.stem
    for owner in owners:
        # Digits right after a name are the frame's number, unless the name ends in digits of its own.
        named = re.fullmatch(rf"{re.escape(owner)}(?:[\W_]+|(?<!\d))(\d+)", mask.stem)
        if named and (stem := _frame_of(named[1], frames[owner])):
            return owner, stem
    raise UserError(f"mask {mask} has no frame in a sequence whose name it starts with: add it, or remove the mask")
