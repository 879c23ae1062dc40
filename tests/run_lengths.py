"""Masks as COCO's run lengths, by pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle


def encode(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Encode bool `[H, W]`, compressed, as it stands in a JSON file."""
    code = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}
