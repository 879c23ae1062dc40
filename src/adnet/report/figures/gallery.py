"""Galleries of overlays: saved as PNG beside the page, and embedded in it as JPEG up to a size limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adnet.report.analysis.pooling import Benchmark, Result
from adnet.report.figures.encoding import data_uri, jpeg, slug, write_csv
from adnet.report.figures.frames import (
    Picture,
    ScoredFrame,
    overlay,
    overlay_strips,
    worst_frames,
    worst_of_each_sequence,
)

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
    benchmark: Benchmark, pictures: Pictures, name: str, sequences: int, frames: int, width: int
) -> Gallery | None:
    """Make Figure 5 (see `overlay_strips`). None if `sequences` is 0."""
    if not sequences:
        return None
    caption = (
        "Predicted masks in magenta, the annotation's outline in white; hardest sequences first. Each strip shows "
        f"{frames} frames, evenly spaced in time, of the variant's first run."
    )
    found = overlay_strips(benchmark, sequences=sequences, frames=frames, width=width)
    if not found:
        roots = {str(e.root) for r in benchmark.results for e in r.evaluations[:1] if e.root is not None}
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


def worst_gallery(benchmark: Benchmark, pictures: Pictures, name: str, count: int, width: int) -> Gallery | None:
    """Show, for each variant, the worst frame of each sequence, limited to the `count` worst. None if `count` is 0.

    The CSV has all frames. A frame that is not on disk is listed without a picture.
    """
    if not count:
        return None
    groups: list[dict[str, object]] = []
    left_out: list[str] = []
    rows: list[tuple[object, ...]] = []
    for result in benchmark.results:
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
    drawn = [overlay(result.evaluations[0], frame.sequence, frame.frame, width) for frame in worst]
    named = [
        (f"{name}-{result.label}-{frame.sequence}-{frame.frame}", picture)
        for frame, picture in zip(worst, drawn, strict=True)
        if picture is not None
    ]
    sources = pictures.add(named)
    remaining = iter(sources or ())
    shown = [
        {
            "label": f"{frame.sequence} {frame.frame}",
            "scores": f"J {100 * frame.J:.1f}",
            "alt": f"{frame.sequence}, frame {frame.frame}, {result.label}",
            "source": next(remaining, "") if picture is not None else "",
        }
        for frame, picture in zip(worst, drawn, strict=True)
    ]
    return shown, sources is not None


def _left_out(what: str, names: Sequence[str]) -> tuple[str, ...]:
    return (f"Left out to keep the page small: the {what} of {', '.join(names)}.",) if names else ()
