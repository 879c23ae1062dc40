"""What the scores of a sequence's frames come to."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt


class Statistics(TypedDict):
    """What a sequence's scores come to; `mean` and `recall` in [0, 1], `decay` in [-1, 1] (negative: they rise)."""

    mean: float
    recall: float
    decay: float


def sequence_statistics(values: npt.ArrayLike) -> Statistics:
    """Mean, recall and decay of the scores `[N]` of one sequence's frames in time order.

    Recall is the share above 0.5 (strictly), decay the mean of the first quarter minus that of the last; quarters share
    the frame between them. Raises ValueError if there are no values. Source: Perazzi et al., CVPR 2016, bin edges as in
    the published evaluation (but for its 8-bit edges, which wrap past 256 frames).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected at least one score in a vector [N], got shape {values.shape}")
    # Halves round up, as published; numpy alone rounds them to even.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] :]
    return {
        "mean": float(values.mean()),
        "recall": float((values > 0.5).mean()),
        "decay": float(first.mean() - last.mean()),
    }
