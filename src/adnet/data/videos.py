"""Videos on disk: found and checked, fingerprints of whole datasets, and a word about masks that look odd."""

import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias
from unicodedata import normalize

import numpy as np

from adnet import __version__
from adnet.data.masks import Mask, has_void, read_mask
from adnet.data.pictures import IMAGES, check_same_size, image_size
from adnet.errors import UserError
from adnet.shared.files import remembered

SYSTEM = frozenset({"$RECYCLE.BIN", "@eaDir", "System Volume Information", "__MACOSX"})
"""Folders that systems, archivers and network disks put beside one's own."""

PICTURES = IMAGES | {".gif"}
"""Suffixes of what may be a frame or a mask. As a video, a GIF is not one of several images."""

SAMPLE = 12  # masks that `report_odd_masks` looks at, over the whole dataset
NEARLY_ALL = 0.95  # share of foreground from which on a mask is odd


@dataclass(frozen=True)
class Video:
    """One video.

    `frames` are image paths in time order; `annotations` maps a frame's stem (`"00012"`) to its annotation and may be sparse.
    `attributes` are the dataset's labels for the video (DAVIS: `OCC`, `FM`, ...), `regions` those of `read_mask`. `weight` is the
    relative probability that a training pair is drawn from the video.
    """

    name: str
    frames: tuple[Path, ...]
    annotations: Mapping[str, Path]
    attributes: tuple[str, ...] = ()
    regions: tuple[int, ...] = ()
    weight: float = 1.0

    @property
    def annotated(self) -> list[int]:
        """Indices of the frames that have an annotation."""
        return [index for index, frame in enumerate(self.frames) if frame.stem in self.annotations]

    def annotation(self, frame: Path) -> Mask:
        """Read the annotation of `frame`: bool `[H, W]`. Raises KeyError if the frame has none."""
        return read_mask(self.annotations[frame.stem], self.regions)


Rule: TypeAlias = Callable[[Video], list[str]]
"""A benchmark's rule: the stems of the frames that count, in time order, each of which is annotated."""


def annotated_frames(sequence: Video) -> list[str]:
    """List the stems of all annotated frames."""
    return [frame.stem for frame in sequence.frames if frame.stem in sequence.annotations]


def all_but_first_and_last(sequence: Video) -> list[str]:
    """List the stems of the annotated frames without the sequence's first and last frame (DAVIS-2016)."""
    return [frame.stem for frame in sequence.frames[1:-1] if frame.stem in sequence.annotations]


@dataclass(frozen=True)
class VideoDataset:
    """Sequences of one split, at least one, and the rule for the frames that count. Raises UserError if there is no sequence.

    `options` are the arguments beyond root and split that say what is annotated.
    """

    name: str
    split: str
    root: Path
    sequences: tuple[Video, ...]
    scored: Rule = all_but_first_and_last
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sequences:
            raise UserError(f"{self.name} {self.split} has no sequences; check the dataset in {self.root}")


def fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Return names, sizes, and a SHA-256 each of the annotations and the frames: equal for equal data, wherever it lies."""
    digest, frames = hashlib.sha256(), hashlib.sha256()
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            digest.update(f"{sequence.name}/{frame.stem}\n".encode())
            frames.update(hashlib.sha256(frame.read_bytes()).digest())
            if frame.stem in sequence.annotations:
                digest.update(hashlib.sha256(sequence.annotations[frame.stem].read_bytes()).digest())
    return {
        "sequences": [sequence.name for sequence in dataset.sequences],
        "frames": sum(len(sequence.frames) for sequence in dataset.sequences),
        "sha256": digest.hexdigest(),
        "frames_sha256": frames.hexdigest(),
    }


def images_or_sequences(sequences: int, frames: int) -> str:
    """Return what so many sequences of so many frames in all are called: images if each is a single one."""
    return "images" if sequences == frames else "sequences"


def known_fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Return `fingerprint`, but read the files only if one of them has another size or time than the last time."""
    files = [file for sequence in dataset.sequences for file in (*sequence.frames, *sequence.annotations.values())]
    what = repr((__version__, [(sequence.name, len(sequence.frames)) for sequence in dataset.sequences]))
    return remembered(what, files, lambda: fingerprint(dataset))


def evenly_spaced(total: int, count: int) -> list[int]:
    """Choose at most `count` different indices in [0, total), including the first and the last if `count` > 1."""
    return sorted({round(index) for index in np.linspace(0, total - 1, min(count, total)).tolist()})


def report_odd_masks(dataset: VideoDataset) -> None:
    """Log one line if nearly all pixels of all masks are foreground, and one if a mask has the label 255 beside other labels.

    Reads a few masks of the whole dataset. One that can't be read is left to the reader that needs it.
    """
    every = [(s, s.frames[index]) for s in dataset.sequences for index in s.annotated]
    shares, void = [], None
    for sequence, frame in (every[index] for index in evenly_spaced(len(every), SAMPLE)):
        with suppress(UserError):
            shares.append(sequence.annotation(frame).mean())
            file = sequence.annotations[frame.stem]
            void = void or (file if not sequence.regions and has_void(file) else None)
    where, say = f"{dataset.name} {dataset.split} in {dataset.root}", logging.getLogger(__name__).warning
    if shares and min(shares) >= NEARLY_ALL:
        share = f"of {len(shares)} masks at least {100 * min(shares):.0f} %"
        say("%s: nearly all pixels of all masks are foreground (%s): are they inverted, or not masks?", where, share)
    if void:
        what = 'if one of them means "not annotated" (void) or "unknown", set it to 0: it counts as foreground'
        say("%s: %s has the label 255 beside others; %s", where, void, what)


def subfolders(path: Path) -> list[str]:
    """List the names of the folders in `path`, sorted, without hidden ones and those of `SYSTEM`.

    Raises UserError if `path` is no folder.
    """
    if not path.is_dir():
        lying = lying_in(path.parent, masks=False)
        raise UserError(f"no folder {path}: set data.root to the folder that holds {path.name}{lying}")
    folders = (child.name for child in path.iterdir() if child.is_dir())
    return sorted(name for name in folders if not name.startswith(".") and name not in SYSTEM)


def images_in(path: Path, suffixes: Collection[str] = PICTURES) -> dict[str, Path]:
    """List the files of these suffixes in a folder by their stems, in natural order; `.JPG` is `.jpg`.

    A stem is in Unicode's composed form (NFC), whatever the disk that it comes from. Raises UserError if two files have the same.
    """
    found: dict[str, Path] = {}
    files = [file for file in path.glob("*") if file.suffix.lower() in suffixes and not file.name.startswith(".")]
    for file in sorted(files, key=natural_order):
        if file.is_dir():
            continue
        stem = composed(file.stem)
        if stem in found:
            raise UserError(f"{file} and {found[stem].name} are the same frame: keep one of them")
        found[stem] = file
    return found


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS decomposes an umlaut into two characters, others don't."""
    return normalize("NFC", name)


def entry(folder: Path, name: str) -> Path:
    """Return the file or folder called `name` in `folder`, in whatever Unicode form; `folder / name` if there is none."""
    path = folder / name
    if path.exists() or name.isascii() or not folder.is_dir():
        return path
    return next((child for child in folder.iterdir() if composed(child.name) == composed(name)), path)


def lying_in(folder: Path, masks: bool = True) -> str:
    """Say what lies in a folder where images (`masks`, or frames) are expected, to be added to a message: ", but ..."; or ""."""
    if not folder.is_dir():
        files = [child.name for child in folder.parent.glob("*") if child.stem == folder.name]
        return f", but {folder.parent} holds {files[0]}" if files else ""
    children = [child for child in folder.iterdir() if child.name[0] != "."]
    folders = sorted(child.name for child in children if child.is_dir() and images_in(child))
    if folders:
        objects = ", perhaps one per object: write one mask per frame" * (masks and all(map(str.isdecimal, folders)))
        return f", but {folder} has folders with images ({_some(folders)}){objects}"
    suffixes = sorted({child.suffix or child.name for child in children})
    return f", but {folder} holds {', '.join(suffixes[:5])}" if suffixes else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def check_names(frames: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
    """Raise UserError if there are both, but no mask is called like a frame."""
    if frames and masks and frames.keys().isdisjoint(masks):
        names = f"masks are called {_some([*masks])}, frames {_some([*frames])}; rename the masks"
        raise UserError(f"no mask in {next(iter(masks.values())).parent} is called like its frame: {names}")


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts `frame9` before `frame10`, by the path without its suffix, then by the suffix."""
    pieces = [*re.split(r"(\d+)", str(path.with_suffix(""))), path.suffix]
    return [(int(piece), piece) if piece.isdecimal() else (-1, piece) for piece in pieces]


def frame_numbered(number: str, frames: Iterable[str]) -> str | None:
    """Find the frame whose name ends in `number`."""
    return next((stem for stem in frames if (end := re.search(r"\d+$", stem)) and int(end[0]) == int(number)), None)


def select(known: Collection[str], wanted: Sequence[str] | None) -> list[str]:
    """Keep the `wanted` of the `known` sequences, in the order of `known`; None: all. Raises UserError for an unknown one."""
    by_name = {composed(name): name for name in known}
    for sequence in wanted or ():
        if composed(sequence) not in by_name:
            near = get_close_matches(sequence, known, n=1)
            hint = f", which has {_some([*known])}; data.train_sequences and data.val_sequences each name sequences of one split"
            raise UserError(f"no sequence {sequence!r} in this split{f'; did you mean {near[0]!r}?' if near else hint}")
    kept = {by_name[composed(sequence)] for sequence in (known if wanted is None else wanted)}
    return [sequence for sequence in known if sequence in kept]


def check_number(dataset: str, path: Path, found: int, number: int) -> None:
    """Raise UserError unless `path` has the `number` of sequences that the dataset has."""
    if found != number:
        advice = "complete it, or name those to use in data.sequences"
        raise UserError(f"{path} has {found} sequences, {dataset} has {number}: {advice}")


def checked_sequence(
    root: Path,
    name: str,
    frames: Mapping[str, Path],
    masks: Mapping[str, Path],
    attributes: tuple[str, ...] = (),
    regions: tuple[int, ...] = (),
    least: int = 2,
    folders: tuple[Path, Path] | None = None,
) -> Video:
    """Make a `Video` of frames and masks by their stems, of at least `least` frames. `folders` are those of both.

    Raises UserError for a mask without a frame or of another size than its frame, for too few frames, and for no mask.
    """
    where = f"in sequence {name!r} of {root}"
    if not frames and folders:
        raise UserError(f"no images in {folders[0]}{lying_in(folders[0], masks=False)}: put the frames there")
    check_names(frames, masks)
    if alone := sorted(masks.keys() - frames.keys()):
        file = masks[alone[0]].relative_to(root)
        raise UserError(f"mask {alone[0]} {where} has no frame ({len(alone)} such): add it, or remove {file}")
    if len(frames) < least:
        raise UserError(f"{len(frames)} frame(s) {where}: a pair needs two, anchor and frame; leave the sequence out")
    if not masks:
        raise UserError(f"no frame {where} has a mask{lying_in(folders[1]) if folders else ''}: leave the sequence out")
    for stem, mask in masks.items():
        check_same_size(f"frame {stem} {where}", image_size(frames[stem]), "its mask", image_size(mask))
    annotations = {frames[stem].stem: mask for stem, mask in masks.items()}  # by the name of the frame's file
    return Video(name, tuple(frames.values()), annotations, attributes, regions)
