"""Scores of single frames, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adnet.data.sequence import read_mask
from adnet.errors import UserError
from adnet.metrics.contour import contour_accuracy
from adnet.metrics.prediction_files import Kind, cut, is_mask, read_prediction, to_probability
from adnet.metrics.region import region_similarity
from adnet.metrics.saliency import Saliency


class FrameFiles(NamedTuple):
    """What a frame is scored from: `prediction` of either kind, `probability` besides, if there is one, and its annotation,
    to be read with `regions`.
    """

    prediction: Path
    probability: Path | None
    annotation: Path
    regions: tuple[int, ...] = ()


class FrameScore(NamedTuple):
    """J and F in [0, 1], and numbers of foreground pixels: common to both masks, of the prediction, of the annotation."""

    J: float
    F: float
    common: int
    predicted: int
    annotated: int


def score_frames(frames: list[FrameFiles], kind: Kind, sampled: bool) -> tuple[list[FrameScore], Saliency | None]:
    """Score frames in this process; the saliency of their probability maps, if there are any.

    With `sampled`, `kind` was told from other files. Raises UserError if a file can't be read, has another size than its
    annotation, or isn't of its kind.
    """
    saliency = Saliency() if any(kind == "probabilities" or frame.probability for frame in frames) else None
    return [_score_frame(frame, kind, sampled, saliency) for frame in frames], saliency


def _score_frame(frame: FrameFiles, kind: Kind, sampled: bool, saliency: Saliency | None) -> FrameScore:
    annotation = read_mask(frame.annotation, frame.regions)
    prediction = _read(frame.prediction, frame.annotation, annotation.shape)
    if kind == "probabilities":
        prediction = to_probability(prediction, frame.prediction)
        mask = cut(prediction)
    elif sampled and not is_mask(prediction):
        raise UserError(
            f"{frame.prediction} has several grey values, and others here one besides 0: give kind=masks or "
            "kind=probabilities"
        )
    else:
        mask = prediction != 0
    if saliency is not None:
        other = frame.probability
        saliency.update(
            to_probability(_read(other, frame.annotation, annotation.shape), other) if other else prediction, annotation
        )
    common, predicted, annotated = (int(np.count_nonzero(part)) for part in (mask & annotation, mask, annotation))
    J, F = region_similarity(mask, annotation), contour_accuracy(mask, annotation)
    return FrameScore(J, F, common, predicted, annotated)


def _read(path: Path, annotation: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    prediction = read_prediction(path)
    if prediction.shape != shape:
        raise UserError(
            f"{path} is {_size(prediction.shape)} but its annotation {annotation} is {_size(shape)} (height x width); "
            "write it at the annotation's size"
        )
    return prediction


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
