"""Saliency scores: MAE, F-measure and precision-recall curve, in the two conventions that papers use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LEVELS = 65536  # of the pooled histogram: exact for 8-bit and 16-bit maps, 1e-5 in probability for floats
THRESHOLDS = 256  # of the per-frame curves, as in the SOD toolboxes
BETA_SQUARED = 0.3  # weighs precision above recall (Achanta et al., CVPR 2009)


class Saliency:
    """Streaming saliency scores: memory is that of two histograms, however many frames are added.

    - `pooled`: the convention of the published anchor-diffusion code. One precision-recall curve over all pixels of all
      frames, F_max the largest F1 on it, MAE over all pixels.
    - `per_frame`: the convention of the SOD toolboxes (pysodmetrics 1.6.2). Every map is first stretched to [0, 1]
      (`stretch=False` leaves this out); beta^2 = 0.3; precision, recall and F are taken at 256 thresholds and averaged
      over frames, and F_max is the largest averaged F. F_adaptive binarises each map at twice its mean. MAE per frame,
      then mean.
    """

    def __init__(self, stretch: bool = True) -> None:
        self.stretch = stretch
        self._histogram = np.zeros((2, LEVELS), np.int64)  # [background, foreground]
        self._absolute_error = 0.0
        self._frames = 0
        self._curve_sums = np.zeros((3, THRESHOLDS))  # of precision, recall, F
        self._mae_sum = 0.0
        self._adaptive_sum = 0.0

    def update(self, probability: npt.NDArray[Any], annotation: npt.NDArray[np.bool_]) -> None:
        """Add one frame: `probability` `[H, W]`, uint8 in 0-255 or float in [0, 1], and its bool annotation `[H, W]`.

        Raises ValueError if the shapes differ or a probability lies outside its range.
        """
        if probability.shape != annotation.shape:
            raise ValueError(f"expected a map of the annotation's shape {annotation.shape}, got {probability.shape}")
        values = probability / 255 if probability.dtype == np.uint8 else probability.astype(np.float64)
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"expected probabilities in [0, 1] or uint8, got {probability.dtype} in [{low}, {high}]")
        annotation = annotation.astype(np.bool_)

        levels = np.rint(values * (LEVELS - 1)).astype(np.int64)
        self._histogram += _histogram(levels, annotation, LEVELS)
        self._absolute_error += float(np.abs(values - annotation).sum())

        if self.stretch and high > low:
            values = (values - low) / (high - low)
        # Truncation, not rounding, and float64 in this order: the toolbox's levels, to the last bit.
        levels = (values * (THRESHOLDS - 1)).astype(np.int64)
        self._curve_sums += _curves(_histogram(levels, annotation, THRESHOLDS), BETA_SQUARED)
        self._mae_sum += float(np.abs(values - annotation).mean())
        self._adaptive_sum += _adaptive_f(values, annotation)
        self._frames += 1

    def compute(self) -> dict[str, dict[str, Any]]:
        """`{"pooled": {"MAE", "F_max"}, "per_frame": {"MAE", "F_max", "F_adaptive"}}`, all in [0, 1].

        Both hold their curve besides: "precision" and "recall", lists of 256 values at the thresholds 255/255, 254/255,
        ... 0, so that recall never falls. Raises ValueError if no frame was added.
        """
        if not self._frames:
            raise ValueError("no frame was added")
        precision, recall, f = _curves(self._histogram, beta_squared=1.0)
        every_257th = np.s_[:: (LEVELS - 1) // (THRESHOLDS - 1)]  # 16-bit levels that are 8-bit levels too
        pooled = {
            "MAE": self._absolute_error / int(self._histogram.sum()),
            "F_max": float(f.max()),
            "precision": precision[every_257th].tolist(),
            "recall": recall[every_257th].tolist(),
        }
        precision, recall, f = self._curve_sums / self._frames
        per_frame = {
            "MAE": self._mae_sum / self._frames,
            "F_max": float(f.max()),
            "F_adaptive": self._adaptive_sum / self._frames,
            "precision": precision.tolist(),
            "recall": recall.tolist(),
        }
        return {"pooled": pooled, "per_frame": per_frame}


def _histogram(levels: npt.NDArray[np.int64], annotation: npt.NDArray[np.bool_], n: int) -> npt.NDArray[np.int64]:
    """Pixels per level, `[2, n]`: of the background and of the foreground."""
    return np.bincount((levels + n * annotation).ravel(), minlength=2 * n).reshape(2, n)


def _curves(histogram: npt.NDArray[np.int64], beta_squared: float) -> Array:
    """Precision, recall and F `[3, n]` of the pixels at or above each level, the highest level first.

    All three are 0 where nothing lies above the threshold, or where there is no foreground.
    """
    background, foreground = np.cumsum(histogram[:, ::-1], axis=1)
    precision = foreground / np.maximum(foreground + background, 1)
    recall = foreground / max(int(foreground[-1]), 1)
    weighted = beta_squared * precision + recall
    f = (1 + beta_squared) * precision * recall / np.where(weighted > 0, weighted, 1)
    return np.stack([precision, recall, f])


def _adaptive_f(values: Array, annotation: npt.NDArray[np.bool_]) -> float:
    mask = values >= min(2 * values.mean(), 1)
    intersection = np.count_nonzero(mask & annotation)
    if not intersection:
        return 0.0
    precision, recall = intersection / np.count_nonzero(mask), intersection / np.count_nonzero(annotation)
    return (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
