"""Write probabilities and cut-outs as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.sequence import Probability
from adnet.shared.files import replacing


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write grey `[H, W]`, RGB `[H, W, 3]` or RGBA `[H, W, 4]`. Atomic: a reader sees the whole file or none."""
    with replacing(path) as draft:
        # Higher levels hardly shrink photographs, but take several times as long.
        Image.fromarray(pixels).save(draft, format="PNG", compress_level=1)


def is_whole_png(path: Path) -> bool:
    """Return whether a file begins and ends like a PNG, unlike an incomplete file or one of another format."""
    content = path.read_bytes() if path.is_file() else b""
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content[-8:-4] == b"IEND"


def to_levels(probability: Probability) -> npt.NDArray[np.uint8]:
    """Convert probabilities in [0, 1] to 8 bits: round(255 p)."""
    return np.rint(255 * probability).astype(np.uint8)
