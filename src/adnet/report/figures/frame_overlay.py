"""A frame with a predicted mask and its annotation drawn over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.overlay import draw_overlay
from adnet.data.sequence import read_frame, read_mask
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
