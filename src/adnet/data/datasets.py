"""The datasets on disk, each an entry with its facts, checked before anything is computed from it.

Each is called as `KnownDataset` says, and returns a `VideoDataset`. All raise UserError for a missing root or split, an unknown
sequence, an annotation without a frame or of another size, and a video of fewer than two frames. An image is a sequence of one
frame. To add one, write its entry here, its facts in `datasets.yaml`, and `conf/data/NAME.yaml`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml

from adnet.data.known_dataset import Keep, KnownDataset, Split
from adnet.data.synthetic import synthesize
from adnet.data.videos import (
    PICTURES,
    Rule,
    Video,
    all_but_first_and_last,
    annotated_frames,
    check_names,
    check_number,
    checked_sequence,
    composed,
    entry,
    frame_numbered,
    images_in,
    lying_in,
    select,
    subfolders,
)
from adnet.errors import UserError
from adnet.shared.files import read_lines

JPEG = frozenset({".jfif", ".jpe", ".jpeg", ".jpg"})

FACTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
for facts in FACTS.values():
    facts["splits"] = {name: Split(**known) for name, known in facts["splits"].items()}


def released(scored: Rule = annotated_frames) -> Callable[[Callable[..., Iterator[Video]]], KnownDataset]:
    """Decorate the function that finds a dataset with the facts in `datasets.yaml`, and with its rule for the frames that count."""
    return lambda find: KnownDataset(find, scored=scored, **FACTS[find.__name__])


GREY = (0, *range(128, 256), *(0x010101 * level for level in range(128, 256)))
"""Regions of annotations with soft edges, in grey or in colour: foreground from half the brightness upwards."""


@released(scored=all_but_first_and_last)
def davis2016(root: Path, split: str = "val", sequences: Keep = None) -> Iterator[Video]:
    """Find DAVIS-2016 at 480p (Perazzi et al., CVPR 2016): 30 sequences in `train`, 20 in `val`.

    `root` holds `JPEGImages/480p`, `Annotations/480p` and the official split files in `ImageSets/480p`, and may hold
    `db_info.yml` with the sequences' attributes.

    Also raises UserError for a frame without a mask.

    Examples:
        >>> root = synthesize(Path("davis"), train=2, val=1, frames=3, size=(48, 80))
        >>> len(davis2016(root, "train").sequences)
        2
    """
    return _davis(root, split, "480p", sequences)


@released(scored=all_but_first_and_last)
def davis2017(root: Path, split: str = "val", sequences: Keep = None) -> Iterator[Video]:
    """Find DAVIS-2017 at 480p (Pont-Tuset et al., arXiv:1704.00675): 60 sequences in `train`, 30 in `val`.

    All objects are one foreground. As for `davis2016`, except that the split files are in `ImageSets/2017` and name one
    sequence per line.
    """
    return _davis(root, split, "2017", sequences)


@partial(KnownDataset, scored=all_but_first_and_last, prepare=synthesize)
def synthetic(root: Path, split: Literal["train", "val"] = "val", sequences: Keep = None) -> Iterator[Video]:
    """Find synthetic videos, which are generated on first use from `seed`; `synthetic_demo` and `synthetic_demo_fast` are the demo's.

    They are laid out in `root` as for `davis2016`. `train` and `val` are their numbers; `adnet.data.synthetic.synthesize` has the options.

    Examples:
        >>> dataset = synthetic("videos", train=1, val=1, frames=3, size=(48, 80))
        >>> dataset.name, [sequence.name for sequence in dataset.sequences]
        ('synthetic', ['val-000'])
    """
    return _davis(root, split, "480p", sequences)


def _davis(root: Path, split: str, splits: str, wanted: Keep) -> Iterator[Video]:
    """Find the sequences that `ImageSets/<splits>/<split>.txt` lists, by their names or by the paths of their frames."""
    split_file = root / "ImageSets" / splits / f"{split}.txt"
    if not split_file.is_file():
        known = ", ".join(sorted(path.stem for path in split_file.parent.glob("*.txt")))
        here = f"the splits here are {known}; set data.split"
        raise UserError(f"no split file {split_file}: {here if known else 'set data.root to the folder of ImageSets'}")
    listed = (Path(line.split()[0]) for line in read_lines(split_file))
    names = dict.fromkeys(path.parent.name or path.name for path in listed)
    attributes = davis_attributes(root)
    for sequence in select(names, wanted):
        folders = entry(root / "JPEGImages" / "480p", sequence), entry(root / "Annotations" / "480p", sequence)
        frames, masks = map(images_in, folders)
        checked = checked_sequence(root, sequence, frames, masks, attributes.get(sequence, ()), folders=folders)
        if alone := [frame.stem for frame in checked.frames if frame.stem not in checked.annotations]:
            where = f"frame {alone[0]} in sequence {sequence!r} of {root}"
            raise UserError(f"{where} has no mask ({len(alone)} such): add {folders[1] / alone[0]}.png")
        yield checked


@released()
def fbms(root: Path, split: str = "test", sequences: Keep = None) -> Iterator[Video]:
    """Find FBMS-59 (Ochs et al., PAMI 2014): 29 sequences in `train`, 30 in `test`, with a few frames of each annotated.

    `root` holds `Trainingset` and `Testset` as in the archives: `<sequence>/*.jpg`, and in `<sequence>/GroundTruth` a
    `*Def.dat` that lists the annotated frames and the regions' labels, and each annotation: `*_gt.ppm` in colour, or the
    listed file, `*.pgm` in grey. All regions but the first are one foreground. `val` is another name for `test`.

    Also raises UserError for a missing definition or annotation, and for a wrong number of sequences unless some are named.
    """
    known = fbms.known_split(split)
    part = root / known.folder
    names = subfolders(part)
    if not sequences:
        check_number("FBMS", part, len(names), known.sequences)
    for name in select(names, sequences):
        video = part / name
        frames = {stem: path for stem, path in images_in(video).items() if path.suffix.lower() == ".jpg"}
        masks, regions = fbms_annotations(video / "GroundTruth", frames)
        yield checked_sequence(part, name, frames, masks, regions=regions)


def fbms_annotations(truth: Path, frames: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[int, ...]]:
    """Find the annotations in `truth` by the stems of their `frames`, and the labels that they use, the background's first.

    `*Def.dat` there lists both: file names of annotations and frames, and each region's label ("scale"), 8-bit grey or a 24-bit
    colour (`65536 red + 256 green + blue`). Raises UserError if it is missing or incomplete, and for a missing annotation.
    """
    file = min(truth.glob("*Def.dat"), default=None)
    if file is None:
        raise UserError(f"no *Def.dat in {truth}: it says which colour is the background; complete the dataset")
    text = file.read_text(encoding="latin-1")
    labels = {int(region): int(label) for region, label in re.findall(r"Scale of region (\d+)\s*:\s*(\d+)", text)}
    listed = re.findall(r"^File name\s*:\s*(\S+)\s+Input file name\s*:\s*(\S+)", text, re.MULTILINE)
    if 0 not in labels or not listed:
        missing = "region 0, the background" if listed else "annotated frame"
        raise UserError(f"{file} lists no {missing}: replace it with the original")
    masks = {}
    for name, frame in listed:
        stem = Path(name).stem.removesuffix("_gt")
        # The probabilities of an annotation (*PROB*) lie beside it, but are never listed.
        candidates = (truth / f"{stem}_gt.ppm", truth / name, truth / f"{stem}.pgm")
        annotation = next((path for path in candidates if path.is_file()), None)
        if annotation is None:
            raise UserError(f"no annotation {truth / name}, which {file.name} lists: complete the dataset")
        number = re.search(r"\d+$", stem)
        named = next((name for name in (Path(frame).stem, stem) if name in frames), None)
        masks[named or (number and frame_numbered(number[0], frames)) or stem] = annotation
    return masks, tuple(labels[region] for region in sorted(labels))


@released()
def visal(root: Path, split: str = "test", sequences: Keep = None) -> Iterator[Video]:
    """Find ViSal (Wang et al., TIP 2015): 17 sequences with 193 annotated frames, for testing only.

    `root` holds `ViSal/<sequence>/` with frames of any image format, and one flat `GroundTruth/`, whose files are named
    like the frame, or by the sequence and the frame's number. (`<sequence>/` may also lie directly in `root`.)

    Also raises UserError for a sequence without annotation, and for a wrong number of sequences unless some are named.
    """
    known = visal.known_split(split)
    videos = root / "ViSal" if (root / "ViSal").is_dir() else root
    names = [name for name in subfolders(videos) if name != "GroundTruth"]
    if not sequences:
        check_number("ViSal", videos, len(names), known.sequences)
    frames = {name: images_in(videos / name) for name in names}
    masks: dict[str, dict[str, Path]] = {name: {} for name in names}
    for path in images_in(root / "GroundTruth").values():
        owner, stem = _visal_frame(path, frames)
        masks[owner][stem] = path
    for name in select(names, sequences):
        yield checked_sequence(root, name, frames[name], masks[name])


@released()
def youtube_vos(root: Path, split: str = "train", sequences: Keep = None) -> Iterator[Video]:
    """Find YouTube-VOS (Xu et al., arXiv:1809.03327): 3,471 videos in `train`; all objects are one foreground.

    `root` holds `<split>/JPEGImages/<video>/*.jpg`, with or without the frames between those annotated, and
    `<split>/Annotations/<video>/*.png`.

    Also raises UserError for a video without annotation.
    """
    videos, truth = root / split / "JPEGImages", root / split / "Annotations"
    for name in select(subfolders(videos), sequences):
        folders = videos / name, truth / name
        yield checked_sequence(root, name, images_in(folders[0]), images_in(folders[1]), folders=folders)


@released()
def duts(root: Path, split: str = "train", sequences: Keep = None) -> Iterator[Video]:
    """Find DUTS (Wang et al., CVPR 2017), images of salient objects: 10,553 in `train`, 5,019 in `test` (or `val`).

    `root` holds `DUTS-TR` and `DUTS-TE` as in the archives: `DUTS-TR-Image/*.jpg` and `DUTS-TR-Mask/*.png`, and so on.
    """
    part = duts.known_split(split).folder
    return _stills(root, f"{part}/{part}-Image", f"{part}/{part}-Mask", sequences, GREY)


@released()
def msra10k(root: Path, split: str = "train", sequences: Keep = None) -> Iterator[Video]:
    """Find MSRA10K (Cheng et al., PAMI 2015), 10,000 images of salient objects, all in `train`.

    `root` holds `Imgs/*.jpg` with the annotations `Imgs/*.png` beside them.
    """
    msra10k.known_split(split)
    return _stills(root, "Imgs", "Imgs", sequences, GREY, suffixes=(JPEG, {".png"}))


@KnownDataset
def images(root: Path, split: str = "all", sequences: Keep = None) -> Iterator[Video]:
    """Find your own images in `root/Image` and their masks in `root/Mask`, where a mask has its image's name; of any format.

    The split `all` is every image; any other is a text file `root/<split>.txt` with an image's name, without suffix, per line.
    """
    return _stills(root, "Image", "Mask", sequences, listed=_listed(root, split))


def _stills(
    root: Path,
    images: str,
    masks: str,
    wanted: Keep,
    regions: tuple[int, ...] = (),
    listed: Keep = None,
    suffixes: tuple[Collection[str], Collection[str]] = (PICTURES, PICTURES),
) -> Iterator[Video]:
    """Find images, each a sequence of one frame: of the `listed` ones (None: all), those `wanted`.

    `suffixes` are those of images and masks. Raises UserError for an image without a mask or a mask without an image.
    """
    frames, annotations = images_in(root / images, suffixes[0]), images_in(root / masks, suffixes[1])
    if not frames:
        raise UserError(f"no images in {root / images}: set data.root to the folder that holds {Path(images)}")
    check_names(frames, annotations)
    if alone := sorted(frames.keys() ^ annotations.keys()):
        missing = root / masks / f"{alone[0]}.png" if alone[0] in frames else root / images / f"{alone[0]}.jpg"
        raise UserError(f"{missing} is missing ({len(alone)} such): add it, or remove its counterpart")
    for name in select(select(frames, listed), wanted):
        yield checked_sequence(root, name, {name: frames[name]}, {name: annotations[name]}, regions=regions, least=1)


@KnownDataset
def folder(root: Path, split: str = "all", sequences: Keep = None) -> Iterator[Video]:
    """Find your own videos: `root/frames/<sequence>/` and `root/masks/<sequence>/`, images of any format.

    A mask has its frame's name; frames without one don't count, and a sequence may be a single image. The split `all` is
    every sequence; any other is a text file `root/<split>.txt` with a sequence's name per line.

    Also raises UserError for a sequence without masks and for a folder in `masks` without frames.
    """
    names = subfolders(root / "frames")
    if not names:
        here = f"{root / 'frames'}{lying_in(root / 'frames', masks=False)}"
        raise UserError(f"no folder of images in {here}: put each video's frames in a folder of its own")
    if alone := sorted({*map(composed, subfolders(root / "masks"))} - {*map(composed, names)}):
        raise UserError(f"{root / 'masks' / alone[0]} has no frames ({len(alone)} such): add frames/{alone[0]}")
    if (listed := _listed(root, split)) is not None:
        select(names, listed)  # so that an unknown one is named
        names = listed
    for name in select(names, sequences):
        folders = entry(root / "frames", name), entry(root / "masks", name)
        yield checked_sequence(root, name, images_in(folders[0]), images_in(folders[1]), least=1, folders=folders)


def _listed(root: Path, split: str) -> list[str] | None:
    """Read the names that `root/<split>.txt` lists; None for `all`. Raises UserError if there is no such file."""
    if split == "all":
        return None
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
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{file}: cannot be read as the sequences' attributes ({reason}); replace it") from error


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
