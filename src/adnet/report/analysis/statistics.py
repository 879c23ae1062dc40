"""Bootstrap intervals and paired permutation tests over sequences.

Sequences are resampled, not frames, because frames of one video are far from independent. The results account for the
choice of sequences, not for the seed of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adnet.report.read import Values

# All sign patterns of 20 sequences (DAVIS-2016 val) take 4 MB: 2^19, since the first sign is fixed by symmetry.
EXACT_SEQUENCES = 20


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval, in the unit of the values. For a single value, the ends are NaN."""

    estimate: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """Return the interval times `factor` (100 for percent)."""
        return Interval(self.estimate * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `a - b` over sequences with its interval, and the two-sided p-value under "no difference"."""

    interval: Interval
    p_value: float


def bootstrap_interval(
    values: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Average `values` `[n]` and compute the BCa bootstrap interval (Efron, "Better Bootstrap Confidence Intervals", 1987).

    BCa corrects for skewed scores (a few sequences fail), which percentiles do not. The same seed gives the same
    interval. Raises ValueError unless `values` is one-dimensional, finite and not empty.
    """
    sample = _checked(values)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, float("nan"), float("nan"))
    if np.ptp(sample) == 0:
        return Interval(mean, mean, mean)

    drawn = np.random.default_rng(seed).integers(0, len(sample), (resamples, len(sample)))
    means = sample[drawn].mean(axis=1)

    normal = NormalDist()
    # The mean of a resample that holds every value once equals `mean` up to rounding: such ties count half. Not
    # scipy.stats.bootstrap: it compares exactly, so its bias and interval change when a constant is added to the values.
    tolerance = 1e-12 * np.abs(sample).max()
    below = ((means < mean - tolerance).sum() + (means <= mean + tolerance).sum()) / (2 * resamples)
    bias = normal.inv_cdf(min(max(float(below), 1 / resamples), 1 - 1 / resamples))
    # The jackknife of a mean is linear in the left-out value, so its skewness equals that of the values.
    centred = sample - mean
    acceleration = float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))

    def level(quantile: float) -> float:
        z = bias + normal.inv_cdf(quantile)
        return normal.cdf(bias + z / (1 - acceleration * z))

    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [level(tail), level(1 - tail)])
    return Interval(mean, float(low), float(high))


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """Compare two variants on the same sequences: `a`, `b` `[n]`, in the same order.

    The p-value comes from the sign-flip permutation test of the mean difference: under "no difference", each sequence's
    difference is equally likely to have either sign. All 2^n patterns are counted for n <= 20, otherwise `resamples`
    random ones plus the observed one, so that p is never 0. Raises ValueError if the shapes differ.
    """
    first, second = _checked(a), _checked(b)
    if first.shape != second.shape:
        raise ValueError(f"a and b must score the same sequences, got {len(first)} and {len(second)} values")
    differences = first - second
    return PairedDifference(
        bootstrap_interval(differences, confidence=confidence, resamples=resamples, seed=seed),
        sign_flip_test(differences, resamples=resamples, seed=seed),
    )


def sign_flip_test(differences: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Compute the two-sided p-value in (0, 1] of the mean of `differences` `[n]`; exact for n <= 20 (`paired_difference`)."""
    sample = _checked(differences)
    observed = abs(sample.sum())
    if len(sample) <= EXACT_SEQUENCES:
        sums = sample[:1]
        for value in sample[1:]:
            sums = np.concatenate([sums + value, sums - value])
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (resamples, len(sample)))
        sums, extra = signs @ sample, 1
    # Sums of the same numbers in a different order differ by rounding: treat them as ties.
    tolerance = 1e-12 * np.abs(sample).sum()
    return float((np.count_nonzero(np.abs(sums) >= observed - tolerance) + extra) / (len(sums) + extra))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one table for multiple comparisons (Holm, "A simple sequentially rejective procedure", 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return [float(value) for value in adjusted]


def _checked(values: npt.ArrayLike) -> Values:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError(f"expected finite values of shape [n], n > 0, got shape {list(sample.shape)}")
    return sample
