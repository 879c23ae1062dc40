"""Overlay strips as in the paper's Figure 5: a few frames of a sequence with the predicted mask drawn over them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.sequence import read_frame, read_mask
from adnet.report.figures import hardest_first
from adnet.report.pooling import Benchmark, Result

Picture = npt.NDArray[np.uint8]

MASK_COLOUR = np.array([0xE0, 0x1E, 0x84])  # magenta: rare in nature, and dark beside white with any colour vision
ANNOTATION_COLOUR = np.array([255, 255, 255])
OPACITY = 0.55


@dataclass(frozen=True)
class Strip:
    """Frames of `sequence` side by side, `picture` `[h, w, 3]` RGB, with the masks of one variant."""

    sequence: str
    label: str
    J: float
    F: float
    frames: tuple[str, ...]
    picture: Picture

    def jpeg(self) -> bytes:
        """The picture as it goes into the page."""
        stream = io.BytesIO()
        Image.fromarray(self.picture).save(stream, format="JPEG", quality=82, optimize=True)
        return stream.getvalue()


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
    if evaluation.root is None:
        return None
    images = evaluation.root / "JPEGImages" / "480p" / sequence
    annotations = evaluation.root / "Annotations" / "480p" / sequence
    pairs = [
        (image, mask)
        for mask in sorted((evaluation.folder / "masks" / sequence).glob("*.png"))
        if (image := images / f"{mask.stem}.jpg").exists()
    ]
    if not pairs:
        return None
    shown = [pairs[place] for place in evenly_spaced(len(pairs), frames)]
    pictures = [_overlay(image, mask, annotations / mask.name, width) for image, mask in shown]
    gap = np.full((pictures[0].shape[0], 4, 3), 255, np.uint8)
    picture = np.concatenate([part for tile in pictures for part in (tile, gap)][:-1], axis=1)
    J, F = (float(result.scores[measure]["mean"][index]) for measure in ("J", "F"))
    return Strip(sequence, result.label, J, F, tuple(mask.stem for _, mask in shown), picture)


def evenly_spaced(total: int, count: int) -> list[int]:
    """At most `count` different indices in [0, total), the first and the last among them if `count` > 1."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(count, total)).tolist()})


def _overlay(image: Path, mask: Path, annotation: Path, width: int) -> Picture:
    frame = read_frame(image)
    height = round(width * frame.shape[0] / frame.shape[1])
    canvas = np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)).astype(float)
    inside = _resized(read_mask(mask), width, height)
    canvas[inside] = (1 - OPACITY) * canvas[inside] + OPACITY * MASK_COLOUR
    canvas[_outline(inside)] = MASK_COLOUR
    if annotation.exists():
        canvas[_outline(_resized(read_mask(annotation), width, height))] = ANNOTATION_COLOUR
    picture: Picture = canvas.round().astype(np.uint8)
    return picture


def _resized(mask: npt.NDArray[np.bool_], width: int, height: int) -> npt.NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BOX)) >= 128


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Foreground pixels `[H, W]` with a background pixel above, below, left or right."""
    padded = np.pad(mask, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~surrounded
