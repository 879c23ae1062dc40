"""Score single frames from their files: region similarity J here, contour accuracy F and saliency in files of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adnet.data.masks import read_mask
from adnet.errors import UserError
from adnet.metrics.contour import contour_accuracy
from adnet.metrics.prediction_files import Kind, read_predicted_mask, read_prediction, threshold, to_probability
from adnet.metrics.saliency import Saliency


def region_similarity(mask: npt.NDArray[np.bool_], annotation: npt.NDArray[np.bool_]) -> float:
    """Compute J = |P and G| / |P or G| of two bool `[H, W]` arrays, in [0, 1]; 1 if both are empty.

    Raises ValueError if the shapes differ. Source: Perazzi et al., CVPR 2016.

    Examples:
        >>> mask = np.eye(4, dtype=bool)
        >>> region_similarity(mask, np.ones((4, 4), bool))
        0.25
    """
    if mask.shape != annotation.shape:
        raise ValueError(f"expected a mask of the annotation's shape {annotation.shape}, got {mask.shape}")
    union = np.count_nonzero(mask | annotation)
    return float(np.count_nonzero(mask & annotation) / union) if union else 1.0


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

    def read(path: Path, reader: Callable[[Path], npt.NDArray[Any]] = read_prediction) -> npt.NDArray[Any]:
        prediction = reader(path)
        if prediction.shape != annotation.shape:
            size, wanted = ("x".join(map(str, array.shape)) for array in (prediction, annotation))
            raise UserError(
                f"{path} is {size} but its annotation {frame.annotation} is {wanted} (height x width): write it at that size"
            )
        return prediction

    probability = None
    if kind == "probabilities":
        probability = to_probability(read(frame.prediction), frame.prediction)
        mask = threshold(probability)
    elif sampled:
        prediction = read(frame.prediction)
        if not ((prediction == 0) | (prediction == prediction.max(initial=0))).all():
            raise UserError(
                f"{frame.prediction} has several grey values, but other files have only one besides 0: give kind=masks or "
                "kind=probabilities"
            )
        mask = prediction != 0
    else:
        mask = read(frame.prediction, read_predicted_mask)
    if frame.probability:
        probability = to_probability(read(frame.probability), frame.probability)
    if saliency is not None and probability is not None:
        saliency.update(probability, annotation)
    common, predicted, annotated = (int(np.count_nonzero(part)) for part in (mask & annotation, mask, annotation))
    J, F = region_similarity(mask, annotation), contour_accuracy(mask, annotation)
    return FrameScore(J, F, common, predicted, annotated, mask.size)
