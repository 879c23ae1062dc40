"""Overlay strips as in the paper's Figure 5: a few frames of a sequence with the predicted mask drawn over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adnet.report.analysis.pooling import Benchmark, Result
from adnet.report.figures.frame_overlay import Picture, overlay
from adnet.report.figures.score_plots import hardest_first


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
