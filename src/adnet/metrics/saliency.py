"""Saliency scores: MAE, F-measure and precision-recall curve, in the two conventions that papers use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from adnet.metrics.structure import structure_measure

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

LEVELS = 65536  # of the pooled histogram: exact for 8-bit and 16-bit maps, 1e-5 in probability for floats
THRESHOLDS = 256  # of the per-frame curves, as in the SOD toolboxes
BETA_SQUARED = 0.3  # weighs precision above recall (Achanta et al., CVPR 2009)


class Saliency:
    """Streaming saliency scores, in constant memory however many frames are added.

    - `pooled`: the convention of the published anchor-diffusion code. One precision-recall curve over all pixels of all
      frames, F_max the largest F1 on it, MAE over all pixels.
    - `per_frame`: the convention of the SOD toolboxes (pysodmetrics 1.6.2). Every map is first stretched to [0, 1]
      (unless `stretch=False`); beta^2 = 0.3; precision, recall and F are computed at 256 thresholds and averaged over
      frames, and F_max is the largest averaged F. F_adaptive binarises each map at twice its mean. MAE and the structure
      measure S are averaged over frames.
    """

    def __init__(self, stretch: bool = True) -> None:
        self.stretch = stretch
        self._histogram = np.zeros((2, LEVELS), np.int64)  # [background, foreground]
        self._absolute_error = 0.0
        self._frames = 0
        self._curve_sums = np.zeros((3, THRESHOLDS))  # of precision, recall, F
        self._mae_sum = 0.0
        self._adaptive_sum = 0.0
        self._structure_sum = 0.0

    def update(self, probability: npt.NDArray[Any], annotation: npt.NDArray[np.bool_]) -> None:
        """Add one frame: `probability` `[H, W]`, uint8, uint16 or float in [0, 1], and its bool annotation `[H, W]`.

        Raises ValueError if the shapes differ or a probability lies outside its range.
        """
        if probability.shape != annotation.shape:
            raise ValueError(f"expected a map of the annotation's shape {annotation.shape}, got {probability.shape}")
        values, pixels = _weighted_values(probability, annotation.astype(np.bool_))
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(f"expected probabilities in [0, 1], got {probability.dtype} in [{low}, {high}]")

        self._histogram += _histogram(np.rint(values * (LEVELS - 1)), pixels, LEVELS)
        self._absolute_error += _absolute_error(values, pixels)

        low, high = (low, high) if self.stretch and high > low else (0.0, 1.0)
        values = (values - low) / (high - low)
        # Truncating, not rounding, and float64 in this order give the toolbox's levels to the last bit.
        self._curve_sums += _curves(_histogram(values * (THRESHOLDS - 1), pixels, THRESHOLDS), BETA_SQUARED)
        self._mae_sum += _absolute_error(values, pixels) / annotation.size
        self._adaptive_sum += _adaptive_f(values, pixels)
        self._structure_sum += structure_measure(
            (_as_shares(probability) - low) / (high - low), annotation.astype(np.bool_)
        )
        self._frames += 1

    def merge(self, other: Saliency) -> None:
        """Add the frames of another `Saliency`. Raises ValueError if its `stretch` differs."""
        if self.stretch != other.stretch:
            raise ValueError(f"expected stretch={self.stretch}, got {other.stretch}")
        self._histogram += other._histogram
        self._absolute_error += other._absolute_error
        self._frames += other._frames
        self._curve_sums += other._curve_sums
        self._mae_sum += other._mae_sum
        self._adaptive_sum += other._adaptive_sum
        self._structure_sum += other._structure_sum

    def compute(self) -> dict[str, dict[str, Any]]:
        """Return `{"pooled": {"MAE", "F_max"}, "per_frame": {"MAE", "F_max", "F_adaptive", "S"}}`, all in [0, 1].

        Both also hold their curve: "precision" and "recall", lists of 256 values at the thresholds 255/255, 254/255, ... 0,
        so that recall never falls. Raises ValueError if no frame was added.
        """
        if not self._frames:
            raise ValueError("no frame was added")
        precision, recall, f = _curves(self._histogram, beta_squared=1.0)
        every_257th = np.s_[:: (LEVELS - 1) // (THRESHOLDS - 1)]  # the 16-bit levels that are also 8-bit levels
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
            "S": self._structure_sum / self._frames,
            "precision": precision.tolist(),
            "recall": recall.tolist(),
        }
        return {"pooled": pooled, "per_frame": per_frame}


def _weighted_values(probability: npt.NDArray[Any], annotation: npt.NDArray[np.bool_]) -> tuple[Array, Counts]:
    """Return the probabilities `[n]` in a frame, and how many pixels `[2, n]` of background and foreground have each.

    A frame of integers has few distinct ones, which makes everything else fast.
    """
    if probability.dtype not in (np.uint8, np.uint16):
        each_pixel = np.stack([~annotation, annotation]).reshape(2, -1)
        return probability.astype(np.float64).ravel(), each_pixel.astype(np.int64)
    top = int(np.iinfo(probability.dtype).max)
    both = np.bincount((probability + np.int64(top + 1) * annotation).ravel(), minlength=2 * (top + 1))
    pixels = both.reshape(2, -1)
    present = np.flatnonzero(pixels.any(axis=0))
    return present / top, pixels[:, present]


def _as_shares(probability: npt.NDArray[Any]) -> Array:
    """Return probabilities as floats in [0, 1]; 8 and 16 bits are divided by the largest value of their type."""
    top = np.iinfo(probability.dtype).max if probability.dtype in (np.uint8, np.uint16) else 1
    return probability.astype(np.float64) / top


def _histogram(levels: Array, pixels: Counts, n: int) -> Counts:
    """Count the pixels `[2, n]` of background and foreground at each level; levels are truncated."""
    index = levels.astype(np.int64)
    return np.stack([np.bincount(index, weights=row, minlength=n) for row in pixels]).astype(np.int64)


def _absolute_error(values: Array, pixels: Counts) -> float:
    return float(values @ pixels[0] + (1 - values) @ pixels[1])


def _curves(histogram: Counts, beta_squared: float) -> Array:
    """Compute precision, recall and F `[3, n]` of the pixels at or above each level, the highest level first.

    All three are 0 where no pixel reaches the level, and without any foreground.
    """
    background, foreground = np.cumsum(histogram[:, ::-1], axis=1)
    precision = foreground / np.maximum(foreground + background, 1)
    recall = foreground / max(int(foreground[-1]), 1)
    weighted = beta_squared * precision + recall
    f = (1 + beta_squared) * precision * recall / np.where(weighted > 0, weighted, 1)
    return np.stack([precision, recall, f])


def _adaptive_f(values: Array, pixels: Counts) -> float:
    background, foreground = pixels
    above = values >= min(2 * (values @ pixels.sum(axis=0)) / pixels.sum(), 1)
    intersection = foreground[above].sum()
    if not intersection:
        return 0.0
    precision, recall = intersection / (intersection + background[above].sum()), intersection / foreground.sum()
    return float((1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall))
