"""The frames that a variant segments worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adnet.report.analysis.pooling import Result
from adnet.report.figures.frame_overlay import Picture, overlay
from adnet.report.read.evaluations import Evaluation


@dataclass(frozen=True)
class ScoredFrame:
    """A frame of a sequence (its stem; its number where the stem isn't known) and its J in [0, 1]."""

    sequence: str
    frame: str
    J: float

    def picture(self, evaluation: Evaluation, width: int) -> Picture | None:
        """The frame with its mask, see `overlay`."""
        return overlay(evaluation, self.sequence, self.frame, width)


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
