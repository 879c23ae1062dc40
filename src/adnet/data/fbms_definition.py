"""The `*Def.dat` beside the annotations of an FBMS sequence: which label is which region, which frames are annotated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adnet.errors import UserError


@dataclass(frozen=True)
class Definition:
    """`regions` are labels, that of the background first: grey values of 8 bits, or colours of 24 (`65536 red + 256 green +
    blue`). `frames` are the file names of each annotation and of the frame that it belongs to.
    """

    file: Path
    regions: tuple[int, ...]
    frames: tuple[tuple[str, str], ...]


def read_definition(truth: Path) -> Definition:
    """Read `truth/*Def.dat`. Raises UserError if there is none, or it lists no region 0 or no annotated frame."""
    file = min(truth.glob("*Def.dat"), default=None)
    if file is None:
        raise UserError(f"no *Def.dat in {truth}: it says which colour is the background; complete the dataset")
    text = file.read_text(encoding="latin-1")
    scales = {int(region): int(scale) for region, scale in re.findall(r"Scale of region (\d+)\s*:\s*(\d+)", text)}
    frames = re.findall(r"^File name\s*:\s*(\S+)\s+Input file name\s*:\s*(\S+)", text, re.MULTILINE)
    if 0 not in scales or not frames:
        missing = "region 0, the background" if frames else "annotated frame"
        raise UserError(f"{file} lists no {missing}: replace it by the original")
    return Definition(file, tuple(scales[region] for region in sorted(scales)), tuple(frames))
