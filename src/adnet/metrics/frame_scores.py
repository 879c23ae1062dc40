"""Score single frames from their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adnet.data.masks import read_mask
from adnet.errors import UserError
from adnet.metrics.contour import contour_accuracy
from adnet.metrics.prediction_files import (
    Kind,
    is_mask,
    read_predicted_mask,
    read_prediction,
    threshold,
    to_probability,
)
from adnet.metrics.region import region_similarity
from adnet.metrics.saliency import Saliency


class FrameFiles(NamedTuple):
    """A frame's `prediction` of either kind, perhaps its `probability` map as well, and its annotation with its `regions`."""

    prediction: Path
    probability: Path | None
    annotation: Path
    regions: tuple[int, ...] = ()


class FrameScore(NamedTuple):
    """J and F in [0, 1], the numbers of foreground pixels in both masks, in the prediction and in the annotation, and of all pixels."""

    J: float
    F: float
    common: int
    predicted: int
    annotated: int
    pixels: int


def score_frames(frames: list[FrameFiles], kind: Kind, sampled: bool) -> tuple[list[FrameScore], Saliency | None]:
    """Score frames in this process, with the saliency of their probability maps, if any.

    `sampled` says that `kind` was guessed from a sample of the files. Raises UserError if a file can't be read, differs in
    size from its annotation, or isn't of that kind.
    """
    saliency = Saliency() if any(kind == "probabilities" or frame.probability for frame in frames) else None
    return [_score_frame(frame, kind, sampled, saliency) for frame in frames], saliency


def _score_frame(frame: FrameFiles, kind: Kind, sampled: bool, saliency: Saliency | None) -> FrameScore:
    annotation = read_mask(frame.annotation, frame.regions)
    given = kind == "masks" and not sampled
    prediction = _read(
        frame.prediction, frame.annotation, annotation.shape, read_predicted_mask if given else read_prediction
    )
    if kind == "probabilities":
        prediction = to_probability(prediction, frame.prediction)
        mask = threshold(prediction)
    elif sampled and not is_mask(prediction):
        raise UserError(
            f"{frame.prediction} has several grey values, but other files have only one besides 0: give kind=masks or "
            "kind=probabilities"
        )
    else:
        mask = prediction != 0
    if saliency is not None:
        if frame.probability:
            prediction = _read(frame.probability, frame.annotation, annotation.shape)
            prediction = to_probability(prediction, frame.probability)
        saliency.update(prediction, annotation)
    common, predicted, annotated = (int(np.count_nonzero(part)) for part in (mask & annotation, mask, annotation))
    J, F = region_similarity(mask, annotation), contour_accuracy(mask, annotation)
    return FrameScore(J, F, common, predicted, annotated, mask.size)


def _read(
    path: Path,
    annotation: Path,
    shape: tuple[int, ...],
    read: Callable[[Path], npt.NDArray[Any]] = read_prediction,
) -> npt.NDArray[Any]:
    prediction = read(path)
    if prediction.shape != shape:
        size, wanted = ("x".join(map(str, sides)) for sides in (prediction.shape, shape))
        raise UserError(
            f"{path} is {size} but its annotation {annotation} is {wanted} (height x width): write it at that size"
        )
    return prediction
