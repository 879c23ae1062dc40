"""The datasets on disk, each as a `VideoDataset`, checked before anything is computed from it."""

from __future__ import annotations

from collections.abc import Sequence as SequenceABC
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import yaml

from adnet.data.sequence import Sequence, VideoDataset, image_size
from adnet.data.synthetic import synthesize
from adnet.errors import UserError


def davis2016(
    root: str | Path, split: str = "val", sequences: SequenceABC[str] | None = None, name: str = "davis2016"
) -> VideoDataset:
    """DAVIS-2016 at 480p (Perazzi et al., CVPR 2016): 30 sequences in `train`, 20 in `val`.

    `root` holds `JPEGImages/480p`, `Annotations/480p` and the official split files in `ImageSets/480p`; `sequences` keeps
    only the named ones. Raises UserError for a missing root or split, an unknown sequence, a frame without a mask, a mask
    without a frame, a mask of another size than its frame, and a sequence of fewer than two frames.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"no dataset at {root}: set data.root, or ADNET_DATA to the folder that holds {root.name}")
    split_file = root / "ImageSets" / "480p" / f"{split}.txt"
    if not split_file.is_file():
        known = ", ".join(sorted(path.stem for path in split_file.parent.glob("*.txt"))) or "none"
        raise UserError(f"no split file {split_file}: the splits here are {known}; set data.split")
    names = dict.fromkeys(
        Path(line.split()[0]).parent.name for line in split_file.read_text().splitlines() if line.strip()
    )
    attributes = _davis_attributes(root)
    found = tuple(
        _davis_sequence(root, sequence, attributes.get(sequence, ())) for sequence in _select(names, sequences)
    )
    return VideoDataset(name, split, root, found, scored="inner")


def synthetic(
    root: str | Path,
    split: Literal["train", "val"] = "val",
    sequences: SequenceABC[str] | None = None,
    train: int = 24,
    val: int = 6,
    frames: int = 16,
    size: tuple[int, int] = (240, 432),
    seed: int = 0,
) -> VideoDataset:
    """Synthetic videos, generated once into `root` (see `adnet.data.synthetic`) and read as DAVIS-2016 is."""
    synthesize(Path(root), train=train, val=val, frames=frames, size=(size[0], size[1]), seed=seed)
    return davis2016(root, split, sequences, name="synthetic")


def _select(known: dict[str, None], wanted: SequenceABC[str] | None) -> list[str]:
    for sequence in wanted or ():
        if sequence not in known:
            near = get_close_matches(sequence, known, n=1)
            raise UserError(
                f"no sequence {sequence!r} in this split"
                + (f"; did you mean {near[0]!r}?" if near else f" of {len(known)}")
            )
    return [sequence for sequence in known if not wanted or sequence in wanted]


def _davis_attributes(root: Path) -> dict[str, tuple[str, ...]]:
    file = root / "db_info.yml"
    if not file.is_file():
        return {}
    return {entry["name"]: tuple(entry["attributes"]) for entry in yaml.safe_load(file.read_text())["sequences"]}


def _davis_sequence(root: Path, name: str, attributes: tuple[str, ...]) -> Sequence:
    frames = {path.stem: path for path in sorted((root / "JPEGImages" / "480p" / name).glob("*.jpg"))}
    masks = {path.stem: path for path in sorted((root / "Annotations" / "480p" / name).glob("*.png"))}
    where = f"in sequence {name!r} of {root}"
    if alone := sorted(frames.keys() - masks.keys()):
        raise UserError(
            f"frame {alone[0]} {where} has no mask ({len(alone)} such): add Annotations/480p/{name}/{alone[0]}.png"
        )
    if alone := sorted(masks.keys() - frames.keys()):
        raise UserError(
            f"mask {alone[0]} {where} has no frame ({len(alone)} such): add JPEGImages/480p/{name}/{alone[0]}.jpg"
        )
    if len(frames) < 2:
        raise UserError(
            f"{len(frames)} frame(s) {where}: a pair takes an anchor and one more; remove it from the split file"
        )
    for stem, frame in frames.items():
        size, mask_size = image_size(frame), image_size(masks[stem])
        if size != mask_size:
            raise UserError(
                f"frame {stem} {where} is {size[1]}x{size[0]} and its mask {mask_size[1]}x{mask_size[0]}: resize one"
            )
    return Sequence(name, tuple(frames.values()), masks, attributes)
