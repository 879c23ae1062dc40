"""Structure measure S of a saliency map (Fan et al., "Structure-measure", ICCV 2017)."""

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def structure_measure(probability: Map, annotation: Mask) -> float:
    """Compute S with alpha = 0.5 of `probability` `[H, W]` in [0, 1] and its `annotation` `[H, W]`: in [0, 1], 1 if they are equal.

    S is the mean of the object-aware and the region-aware similarity (Eq. 5 to 9 and 2 to 4), and 0 if that mean is below 0. Without
    foreground it is 1 minus the mean probability, without background the mean probability.
    """
    share = annotation.mean()
    if share in (0, 1):
        return float(probability.mean() if share else 1 - probability.mean())
    inside, outside = _concentration(probability[annotation]), _concentration(1 - probability[~annotation])
    objects = share * inside + (1 - share) * outside
    return max(0.0, float(objects + _regions(probability, annotation)) / 2)


def _concentration(values: Map) -> float:
    """Return how close to 1 the probabilities `[n]` of an object are, and how alike (Eq. 8)."""
    mean, deviation = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation))


def _regions(probability: Map, annotation: Mask) -> float:
    """Average the similarity of the four parts into which the annotation's centroid divides the frame, by their area."""
    row, column = (int(np.rint(np.mean(axis))) + 1 for axis in np.nonzero(annotation))
    parts = [np.s_[rows, columns] for rows in np.s_[:row, row:] for columns in np.s_[:column, column:]]
    areas = [annotation[part].size for part in parts]
    return sum(
        area * _similarity(probability[part], annotation[part].astype(np.float64))
        for part, area in zip(parts, areas, strict=True)
        if area
    ) / sum(areas)


def _similarity(x: Map, y: Map) -> float:
    """Return the structural similarity of two parts without its constants (Eq. 2): luminance, contrast and structure."""
    pixels = max(x.size - 1, 1)
    variances = (((x - x.mean()) ** 2).sum() + ((y - y.mean()) ** 2).sum()) / pixels
    covariance = ((x - x.mean()) * (y - y.mean())).sum() / pixels
    numerator = 4 * x.mean() * y.mean() * covariance
    denominator = (x.mean() ** 2 + y.mean() ** 2) * variances
    return float(numerator / denominator) if denominator else 1.0
