"""Region similarity J: the Jaccard index of a mask and its annotation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
