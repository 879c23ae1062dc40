"""Galleries of overlays: strips of a sequence (Figure 5), and the frames that a variant segments worst.

They are saved as PNG beside the page, and embedded in it as JPEG up to a size limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.known_dataset import DATASETS
from adnet.data.masks import read_mask
from adnet.data.pictures import read_frame
from adnet.data.sequence import Sequence as Video
from adnet.data.sequence import evenly_spaced
from adnet.errors import UserError
from adnet.report.analysis.pooling import Comparison, Result, hardest_first
from adnet.report.figures.plot import data_uri, jpeg, slug, write_csv
from adnet.report.read.evaluations import Evaluation
from adnet.video.overlay import draw_overlay

Picture = npt.NDArray[np.uint8]

ANNOTATION_COLOUR = np.array([255, 255, 255])

BUDGET = 6_000_000  # bytes of JPEG on the page, 8 MB in base64


@dataclass
class Pictures:
    """The folder of the pictures, and how many bytes of them the page can still take."""

    folder: Path
    budget: int = BUDGET

    def add(self, pictures: Sequence[tuple[str, Picture]]) -> list[str] | None:
        """Save each `(name, picture)` and return their data URIs. If they exceed the budget, save none and return None."""
        encoded = [jpeg(picture) for _, picture in pictures]
        if sum(map(len, encoded)) > self.budget:
            return None
        self.budget -= sum(map(len, encoded))
        for name, picture in pictures:
            Image.fromarray(picture).save(self.folder / f"{slug(name)}.png")
        return [data_uri("image/jpeg", content) for content in encoded]


@dataclass(frozen=True)
class Gallery:
    """Groups of pictures with a heading, as the page shows them: `{"title", "pictures": [{"source", "alt", ...}]}`.

    `data` is the name of the CSV file with their numbers, "" if there are none; `notes` say what is missing.
    """

    caption: str
    data: str
    groups: tuple[dict[str, object], ...]
    notes: tuple[str, ...]


def strip_gallery(
    comparison: Comparison, pictures: Pictures, name: str, sequences: int, frames: int, width: int
) -> Gallery | None:
    """Make Figure 5 (see `overlay_strips`). None if `sequences` is 0."""
    if not sequences:
        return None
    caption = (
        "Predicted masks in magenta, the annotation's outline in white; hardest sequences first. Each strip shows "
        f"{frames} frames, evenly spaced in time, of the variant's first run."
    )
    found = overlay_strips(comparison, sequences=sequences, frames=frames, width=width)
    if not found:
        roots = {str(e.root) for r in comparison.results for e in r.evaluations[:1] if e.root is not None}
        where = f"under {', '.join(sorted(roots))}" if roots else "because evaluation.json names no dataset folder"
        return Gallery(
            caption, "", (), (f"The overlay strips are left out: no pair of frame and mask was found {where}.",)
        )
    groups: list[dict[str, object]] = []
    left_out: list[str] = []
    rows: list[tuple[object, ...]] = []
    for strips in found:
        sequence = strips[0].sequence
        sources = pictures.add([(f"{name}-{sequence}-{strip.label}", strip.picture) for strip in strips])
        if sources is None:
            left_out.append(sequence)
            continue
        shown = [
            {
                "label": strip.label,
                "scores": f"J {100 * strip.J:.1f}\N{EN SPACE}F {100 * strip.F:.1f}",
                "alt": f"{sequence}, {strip.label}, frames {', '.join(strip.frames)}",
                "source": source,
            }
            for strip, source in zip(strips, sources, strict=True)
        ]
        groups.append({"title": sequence, "pictures": shown})
        rows += [(sequence, s.label, round(100 * s.J, 4), round(100 * s.F, 4), " ".join(s.frames)) for s in strips]
    write_csv(pictures.folder / f"{name}.csv", ("sequence", "variant", "J", "F", "frames"), rows)
    return Gallery(caption, name, tuple(groups), _left_out("strips", left_out))


def worst_gallery(comparison: Comparison, pictures: Pictures, name: str, count: int, width: int) -> Gallery | None:
    """Show, for each variant, the worst frame of each sequence, limited to the `count` worst. None if `count` is 0.

    The CSV has all frames. A frame that is not on disk is listed without a picture.
    """
    if not count:
        return None
    groups: list[dict[str, object]] = []
    left_out: list[str] = []
    rows: list[tuple[object, ...]] = []
    for result in comparison.results:
        frames = worst_frames(result)
        rows += [(result.label, frame.sequence, frame.frame, round(100 * frame.J, 4)) for frame in frames]
        if not frames:
            continue
        shown, fits = _add_worst(result, worst_of_each_sequence(frames)[:count], pictures, name, width)
        groups.append({"title": result.label, "pictures": shown})
        left_out += [] if fits else [result.label]
    if not groups:
        return None
    write_csv(pictures.folder / f"{name}.csv", ("variant", "sequence", "frame", "J"), rows)
    caption = (
        f"The worst frames of a variant's first run, by J in percent: the worst of each sequence, and of these the {count} "
        "worst. Mask in magenta, the annotation's outline in white. The CSV file lists all frames, the worst first."
    )
    return Gallery(caption, name, tuple(groups), _left_out("worst frames", left_out))


def _add_worst(
    result: Result, worst: Sequence[ScoredFrame], pictures: Pictures, name: str, width: int
) -> tuple[list[dict[str, str]], bool]:
    """Add overlays of the frames `worst`; return them as the page shows them, and whether they fit the budget."""
    evaluation = result.evaluations[0]
    drawn = {f: overlay(evaluation, find_sequence(evaluation, f.sequence), f.frame, width) for f in worst}
    found = {frame: picture for frame, picture in drawn.items() if picture is not None}
    sources = pictures.add(
        [(f"{name}-{result.label}-{frame.sequence}-{frame.frame}", picture) for frame, picture in found.items()]
    )
    source_of = dict(zip(found, sources or (), strict=False))
    shown = [
        {
            "label": f"{frame.sequence} {frame.frame}",
            "scores": f"J {100 * frame.J:.1f}",
            "alt": f"{frame.sequence}, frame {frame.frame}, {result.label}",
            "source": source_of.get(frame, ""),
        }
        for frame in worst
    ]
    return shown, sources is not None


def _left_out(what: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"Left out to keep the page small: the {what} of {', '.join(names)}.",) if names else ()


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


def overlay(evaluation: Evaluation, sequence: Video | None, frame: str, width: int) -> Picture | None:
    """Draw the mask of `evaluation` in magenta, and the outline of the annotation (if any) in white, over a frame.

    `frame` is the stem of its file. Returns RGB, `width` pixels wide, or None unless frame and mask are on disk.
    """
    if sequence is None:
        return None
    image = next((path for path in sequence.frames if path.stem == frame), None)
    mask = evaluation.folder / "masks" / sequence.name / f"{frame}.png"
    if image is None or not mask.exists():
        return None
    rgb = read_frame(image)
    height = round(width * rgb.shape[0] / rgb.shape[1])
    small = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))
    picture: Picture = draw_overlay(small, _resized(read_mask(mask), width, height))
    if frame in sequence.annotations:
        picture[_outline(_resized(sequence.annotation(image), width, height))] = ANNOTATION_COLOUR
    return picture


def _resized(mask: npt.NDArray[np.bool_], width: int, height: int) -> npt.NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask).convert("L").resize((width, height), Image.Resampling.BOX)) >= 128


def _outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find foreground pixels of `mask` `[H, W]` with a background pixel above, below, left or right."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return np.asarray(mask & (cv2.erode(mask.astype(np.uint8), cross) == 0))


@dataclass(frozen=True)
class Strip:
    """Frames of `sequence` side by side, with the masks of one variant: `picture` `[h, w, 3]`, RGB."""

    sequence: str
    label: str
    J: float
    F: float
    frames: tuple[str, ...]
    picture: Picture


def overlay_strips(comparison: Comparison, *, sequences: int, frames: int, width: int) -> list[list[Strip]]:
    """Draw strips of `sequences` sequences, half of them the hardest and half the easiest: per sequence, one per variant.

    Each strip shows `frames` frames of the variant's first run, evenly spaced in time, each `width` pixels wide.
    Sequences whose frames or masks are not on disk are left out.
    """
    order = [int(index) for index in hardest_first(comparison)]
    chosen = order if len(order) <= sequences else order[: (sequences + 1) // 2] + order[len(order) - sequences // 2 :]
    rows = ([_strip(result, comparison, index, frames, width) for result in comparison.results] for index in chosen)
    return [strips for row in rows if (strips := [strip for strip in row if strip is not None])]


def _strip(result: Result, comparison: Comparison, index: int, frames: int, width: int) -> Strip | None:
    sequence = comparison.sequences[index]
    evaluation = result.evaluations[0]
    masks = sorted((evaluation.folder / "masks" / sequence).glob("*.png"))
    shown = [masks[number].stem for number in evenly_spaced(len(masks), frames)]
    found = find_sequence(evaluation, sequence)
    drawn = {stem: overlay(evaluation, found, stem, width) for stem in shown}
    pictures = {stem: picture for stem, picture in drawn.items() if picture is not None}
    if not pictures:
        return None
    gap = np.full((next(iter(pictures.values())).shape[0], 4, 3), 255, np.uint8)
    picture = np.concatenate([part for tile in pictures.values() for part in (tile, gap)][:-1], axis=1)
    J, F = (float(result.scores[measure]["mean"][index]) for measure in ("J", "F"))
    return Strip(sequence, result.label, J, F, tuple(pictures), picture)


@dataclass(frozen=True)
class ScoredFrame:
    """A frame of a sequence (its stem, or its number if the stem is unknown) and its J in [0, 1]."""

    sequence: str
    frame: str
    J: float


def worst_frames(result: Result) -> list[ScoredFrame]:
    """Sort the frames of a variant's first run by increasing J. Empty if its score file has no values per frame."""
    evaluation = result.evaluations[0]
    found = [
        ScoredFrame(sequence, frame, float(J))
        for sequence, values in evaluation.frames.items()
        for frame, J in zip(_names(evaluation, sequence, len(values)), values, strict=True)
        if np.isfinite(J)
    ]
    return sorted(found, key=lambda frame: frame.J)


def worst_of_each_sequence(frames: list[ScoredFrame]) -> list[ScoredFrame]:
    """Keep the first frame of each sequence, of frames sorted by J: its neighbours fail in the same way."""
    first: dict[str, ScoredFrame] = {}
    for frame in frames:
        first.setdefault(frame.sequence, frame)
    return list(first.values())


def _names(evaluation: Evaluation, sequence: str, count: int) -> list[str]:
    """Return the stems of the scored frames, or their numbers if they are unknown."""
    if sequence in evaluation.stems:
        return [*evaluation.stems[sequence]]
    # Score files of older versions have no names, which only the masks of a data set that is annotated throughout can tell.
    stems = [path.stem for path in sorted((evaluation.folder / "masks" / sequence).glob("*.png"))]
    if len(stems) == count + 2 and evaluation.dataset == "davis2016":
        return stems[1:-1]
    return stems if len(stems) == count else [f"#{number}" for number in range(1, count + 1)]
