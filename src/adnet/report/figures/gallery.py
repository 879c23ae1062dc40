"""Galleries of overlays, as PNG beside the page and as JPEG in it: strips of a sequence (Figure 5), and a variant's worst frames."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.known_dataset import DATASETS
from adnet.data.masks import Mask, read_mask
from adnet.data.pictures import Frame, read_frame
from adnet.data.videos import Video, evenly_spaced
from adnet.errors import UserError
from adnet.report.analysis.pooling import Comparison, Result, hardest_first
from adnet.report.captions import caption
from adnet.report.figures.plot import data_uri, jpeg, slug, write_csv
from adnet.report.read import Evaluation
from adnet.video.overlay import draw_overlay

ANNOTATION_COLOUR = np.array([255, 255, 255])


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures by their heading, each picture with its `label`, `scores`, `alt` and `source` on the page.

    `data` is the name of the CSV file with their numbers, "" if there are none; `note` says what is missing.
    """

    caption: str
    groups: Mapping[str, Sequence[Mapping[str, str]]]
    data: str = ""
    note: str = ""


def strip_gallery(
    comparison: Comparison, figures: Path, name: str, sequences: int, frames: int, width: int
) -> Gallery | None:
    """Make Figure 5: strips of `sequences` sequences, half of them the hardest and half the easiest, one per variant.

    Each shows `frames` frames of its first run, `width` pixels wide. What is not on disk is left out. None for 0
    sequences.
    """
    if not sequences:
        return None
    order = [int(index) for index in hardest_first(comparison)]
    chosen = order if len(order) <= sequences else order[: (sequences + 1) // 2] + order[len(order) - sequences // 2 :]
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    rows: list[tuple[object, ...]] = []
    for index in chosen:
        sequence = comparison.sequences[index]
        for result in comparison.results:
            stems, picture = _strip(result.evaluations[0], sequence, frames, width)
            if picture is None:
                continue
            J, F = (100 * float(result.scores[measure]["mean"][index]) for measure in ("J", "F"))
            scores, alt = f"J {J:.1f}\N{EN SPACE}F {F:.1f}", f"{sequence}, {result.label}, frames {', '.join(stems)}"
            texts = {"label": result.label, "scores": scores, "alt": alt}
            groups[sequence].append(texts | _saved(picture, figures, f"{name}-{sequence}-{result.label}"))
            rows.append((sequence, result.label, round(J, 4), round(F, 4), " ".join(stems)))
    text = caption("strip_gallery", frames)
    if not groups:
        roots = sorted({str(e.root) for r in comparison.results for e in r.evaluations[:1] if e.root is not None})
        where = f"under {', '.join(roots)}" if roots else "because evaluation.json names no dataset folder"
        note = f"The overlay strips are left out: no pair of frame and mask was found {where}."
        return Gallery(text, {}, note=note)
    write_csv(figures / f"{name}.csv", ("sequence", "variant", "J", "F", "frames"), rows)
    return Gallery(text, groups, name)


def worst_gallery(comparison: Comparison, figures: Path, name: str, count: int, width: int) -> Gallery | None:
    """Show each variant's worst frames: the worst of each sequence, and of these the `count` worst. None if `count` is 0."""
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    rows: list[tuple[object, ...]] = []
    for result in comparison.results if count else ():
        frames = worst_frames(result)
        rows += [(result.label, frame.sequence, frame.frame, round(100 * frame.J, 4)) for frame in frames]
        worst: dict[str, ScoredFrame] = {}
        for scored in frames:
            worst.setdefault(scored.sequence, scored)  # its other frames fail in the same way
        for sequence, frame, J in list(worst.values())[:count]:
            evaluation = result.evaluations[0]
            picture = overlay(evaluation, find_sequence(evaluation, sequence), frame, width)
            texts = {"label": f"{sequence} {frame}", "scores": f"J {100 * J:.1f}"}
            texts["alt"] = f"{sequence}, frame {frame}, {result.label}"
            groups[result.label].append(texts | _saved(picture, figures, f"{name}-{result.label}-{sequence}-{frame}"))
    if not groups:
        return None
    write_csv(figures / f"{name}.csv", ("variant", "sequence", "frame", "J"), rows)
    return Gallery(caption("worst_gallery", count), groups, name)


def _saved(picture: Frame | None, figures: Path, name: str) -> dict[str, str]:
    """Save a picture as PNG, and return its `source` on the page, a JPEG; "" without a picture."""
    if picture is None:
        return {"source": ""}
    Image.fromarray(picture).save(figures / f"{slug(name)}.png")
    return {"source": data_uri("image/jpeg", jpeg(picture))}


def find_sequence(evaluation: Evaluation, sequence: str) -> Video | None:
    """Find a sequence of the dataset that was evaluated; None if it is not where it was then, or no longer complete."""
    known = DATASETS.get(evaluation.dataset)
    if known is None or evaluation.root is None:
        return None
    try:
        options = evaluation.details.get("options", {})
        return next(iter(known.find(evaluation.root, evaluation.split, [sequence], **options)), None)
    except (UserError, TypeError):  # the latter for options of another version
        return None


def overlay(evaluation: Evaluation, sequence: Video | None, frame: str, width: int) -> Frame | None:
    """Draw the mask in magenta and the annotation's outline in white over a frame, by its stem.

    Returns RGB, `width` pixels wide; None unless frame and mask are on disk.
    """
    if sequence is None:
        return None
    image = next((path for path in sequence.frames if path.stem == frame), None)
    mask = evaluation.folder / "masks" / sequence.name / f"{frame}.png"
    if image is None or not mask.exists():
        return None
    rgb = read_frame(image)
    size = (width, round(width * rgb.shape[0] / rgb.shape[1]))
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    picture = draw_overlay(small, _resized(read_mask(mask), size))
    if frame in sequence.annotations:
        annotation = _resized(sequence.annotation(image), size)
        # Foreground with a background pixel above, below, left or right.
        inside = cv2.erode(annotation.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
        picture[annotation & (inside == 0)] = ANNOTATION_COLOUR
    return picture


def _resized(mask: Mask, size: tuple[int, int]) -> Mask:
    return np.asarray(Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BOX)) >= 128


def _strip(
    evaluation: Evaluation, sequence: str, count: int, width: int
) -> tuple[list[str], npt.NDArray[np.uint8] | None]:
    """Draw at most `count` frames of a sequence side by side; return their stems and the picture, None if there is no frame."""
    masks = sorted((evaluation.folder / "masks" / sequence).glob("*.png"))
    video = find_sequence(evaluation, sequence)
    stems = [masks[number].stem for number in evenly_spaced(len(masks), count)]
    drawn = {stem: picture for stem in stems if (picture := overlay(evaluation, video, stem, width)) is not None}
    if not drawn:
        return [], None
    gap = np.full((next(iter(drawn.values())).shape[0], 4, 3), 255, np.uint8)
    return [*drawn], np.concatenate([part for tile in drawn.values() for part in (tile, gap)][:-1], axis=1)


class ScoredFrame(NamedTuple):
    """A frame of a sequence (its stem, or its number if the stem is unknown) and its J in [0, 1]."""

    sequence: str
    frame: str
    J: float


def worst_frames(result: Result) -> list[ScoredFrame]:
    """Sort the frames of a variant's first run by increasing J. Empty if its score file has no values per frame."""
    evaluation = result.evaluations[0]
    found = []
    for sequence, values in evaluation.frames.items():
        # Score files of older versions have no names.
        stems = evaluation.stems.get(sequence) or [f"#{number}" for number in range(1, len(values) + 1)]
        found += [ScoredFrame(sequence, stem, float(J)) for stem, J in zip(stems, values, strict=True)]
    return sorted((frame for frame in found if np.isfinite(frame.J)), key=lambda frame: frame.J)
