"""Frames with masks drawn over them: strips of a sequence (Figure 5), and the frames that a variant segments worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.overlay import draw_overlay
from adnet.data.sequence import read_frame, read_mask
from adnet.report.analysis.pooling import Benchmark, Result
from adnet.report.figures.score_plots import hardest_first
from adnet.report.read.evaluations import Evaluation

Picture = npt.NDArray[np.uint8]

ANNOTATION_COLOUR = np.array([255, 255, 255])

# Where a dataset may have a frame and its annotation: DAVIS, `data=folder`, FBMS, ViSal. The latter two have annotations
# for few frames, in forms of their own, which are not drawn.
FRAMES = (
    "JPEGImages/480p/{sequence}",
    "frames/{sequence}",
    "Testset/{sequence}",
    "Trainingset/{sequence}",
    "{sequence}",
)
ANNOTATIONS = ("Annotations/480p/{sequence}", "masks/{sequence}")


def overlay(evaluation: Evaluation, sequence: str, frame: str, width: int) -> Picture | None:
    """Frame `frame` (its stem) in RGB, `width` pixels wide: the mask of `evaluation` in magenta, the annotation's outline
    in white, where there is one. None unless frame and mask are on disk.
    """
    mask = evaluation.folder / "masks" / sequence / f"{frame}.png"
    if evaluation.root is None or not mask.exists():
        return None
    image = _find(evaluation.root, FRAMES, sequence, frame, (".jpg", ".jpeg", ".png"))
    annotation = _find(evaluation.root, ANNOTATIONS, sequence, frame, (".png",))
    return _drawn(image, mask, annotation, width) if image else None


def _find(root: Path, places: Sequence[str], sequence: str, frame: str, endings: Sequence[str]) -> Path | None:
    files = (root / place.format(sequence=sequence) / f"{frame}{end}" for place in places for end in endings)
    return next((file for file in files if file.exists()), None)


def _drawn(image: Path, mask: Path, annotation: Path | None, width: int) -> Picture:
    frame = read_frame(image)
    height = round(width * frame.shape[0] / frame.shape[1])
    small = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
    picture: Picture = draw_overlay(small, _resized(read_mask(mask), width, height))
    if annotation:
        picture[_outline(_resized(read_mask(annotation), width, height))] = ANNOTATION_COLOUR
    return picture


def _resized(mask: npt.NDArray[np.bool_], width: int, height: int) -> npt.NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BOX)) >= 128


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Foreground pixels `[H, W]` with a background pixel above, below, left or right."""
    padded = np.pad(mask, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded


@dataclass(frozen=True)
class Strip:
    """Frames of `sequence` side by side, `picture` `[h, w, 3]` RGB, with the masks of one variant."""

    sequence: str
    label: str
    J: float
    F: float
    frames: tuple[str, ...]
    picture: Picture


def overlay_strips(benchmark: Benchmark, *, sequences: int, frames: int, width: int) -> list[list[Strip]]:
    """Strips of the hardest half and the easiest half of `sequences` sequences: a list per sequence, one per variant.

    Each strip shows `frames` frames, evenly spaced in time, each `width` pixels wide. A variant's first run is shown.
    Sequences whose frames or masks are not on disk are left out.
    """
    order = [int(index) for index in hardest_first(benchmark)]
    chosen = order if len(order) <= sequences else order[: (sequences + 1) // 2] + order[len(order) - sequences // 2 :]
    rows = ([_strip(result, benchmark, index, frames, width) for result in benchmark.results] for index in chosen)
    return [strips for row in rows if (strips := [strip for strip in row if strip is not None])]


def _strip(result: Result, benchmark: Benchmark, index: int, frames: int, width: int) -> Strip | None:
    sequence = benchmark.sequences[index]
    evaluation = result.evaluations[0]
    masks = sorted((evaluation.folder / "masks" / sequence).glob("*.png"))
    shown = [masks[place].stem for place in evenly_spaced(len(masks), frames)]
    drawn = {stem: overlay(evaluation, sequence, stem, width) for stem in shown}
    pictures = {stem: picture for stem, picture in drawn.items() if picture is not None}
    if not pictures:
        return None
    gap = np.full((next(iter(pictures.values())).shape[0], 4, 3), 255, np.uint8)
    picture = np.concatenate([part for tile in pictures.values() for part in (tile, gap)][:-1], axis=1)
    J, F = (float(result.scores[measure]["mean"][index]) for measure in ("J", "F"))
    return Strip(sequence, result.label, J, F, tuple(pictures), picture)


def evenly_spaced(total: int, count: int) -> list[int]:
    """At most `count` different indices in [0, total), the first and the last among them if `count` > 1."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(count, total)).tolist()})


@dataclass(frozen=True)
class ScoredFrame:
    """A frame of a sequence (its stem; its number where the stem isn't known) and its J in [0, 1]."""

    sequence: str
    frame: str
    J: float


def worst_frames(result: Result) -> list[ScoredFrame]:
    """All frames of a variant's first run by rising J; none where its score file has no values per frame."""
    evaluation = result.evaluations[0]
    found = [
        ScoredFrame(sequence, frame, float(J))
        for sequence, values in evaluation.frames.items()
        for frame, J in zip(_names(evaluation, sequence, len(values)), values, strict=True)
        if np.isfinite(J)
    ]
    return sorted(found, key=lambda frame: frame.J)


def worst_of_each_sequence(frames: list[ScoredFrame]) -> list[ScoredFrame]:
    """Of frames by rising J, the first of each sequence: the frames beside it fail in the same way."""
    first: dict[str, ScoredFrame] = {}
    for frame in frames:
        first.setdefault(frame.sequence, frame)
    return list(first.values())


def _names(evaluation: Evaluation, sequence: str, count: int) -> list[str]:
    """Stems of the frames that count, from the masks: all of them, or all but the first and the last (DAVIS-2016)."""
    stems = [path.stem for path in sorted((evaluation.folder / "masks" / sequence).glob("*.png"))]
    if len(stems) == count + 2:
        return stems[1:-1]
    return stems if len(stems) == count else [f"#{number}" for number in range(1, count + 1)]
