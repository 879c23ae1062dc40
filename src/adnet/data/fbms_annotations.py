"""The annotations of an FBMS sequence: which frames have one, and which labels are foreground."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from adnet.data.sequence_files import frame_numbered
from adnet.errors import UserError


class Definition(NamedTuple):
    """What a `*Def.dat` lists.

    `regions` are the labels, the background's first: 8-bit grey values, or 24-bit colours (`65536 red + 256 green + blue`).
    `frames` are the file names of each annotation and of the frame that it belongs to.
    """

    file: Path
    regions: tuple[int, ...]
    frames: tuple[tuple[str, str], ...]


def read_definition(truth: Path) -> Definition:
    """Read `truth/*Def.dat`. Raises UserError if it is missing, or lists no region 0 or no annotated frame."""
    file = min(truth.glob("*Def.dat"), default=None)
    if file is None:
        raise UserError(f"no *Def.dat in {truth}: it says which colour is the background; complete the dataset")
    text = file.read_text(encoding="latin-1")
    scales = {int(region): int(scale) for region, scale in re.findall(r"Scale of region (\d+)\s*:\s*(\d+)", text)}
    frames = re.findall(r"^File name\s*:\s*(\S+)\s+Input file name\s*:\s*(\S+)", text, re.MULTILINE)
    if 0 not in scales or not frames:
        missing = "region 0, the background" if frames else "annotated frame"
        raise UserError(f"{file} lists no {missing}: replace it with the original")
    return Definition(file, tuple(scales[region] for region in sorted(scales)), tuple(frames))


def fbms_annotations(truth: Path, frames: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[int, ...]]:
    """Find the annotations in `truth` by the stems of their `frames`, and the labels that they use, the background's first.

    Raises UserError for a missing annotation, and as `read_definition` does.
    """
    definition = read_definition(truth)
    masks = {}
    for file, frame in definition.frames:
        stem = Path(file).stem.removesuffix("_gt")
        # The probabilities of an annotation (*PROB*) lie beside it, but are never listed.
        candidates = (truth / f"{stem}_gt.ppm", truth / file, truth / f"{stem}.pgm")
        annotation = next((path for path in candidates if path.is_file()), None)
        if annotation is None:
            raise UserError(f"no annotation {truth / file}, which {definition.file.name} lists: complete the dataset")
        number = re.search(r"\d+$", stem)
        named = next((name for name in (Path(frame).stem, stem) if name in frames), None)
        masks[named or (number and frame_numbered(number[0], frames)) or stem] = annotation
    return masks, definition.regions
