"""Forms in which pictures and numbers go into the page and beside it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image


def jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """`[H, W, 3]` RGB as it goes into the page."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=82, optimize=True)
    return stream.getvalue()


def base64_text(content: bytes) -> str:
    """`content` in base64."""
    return base64.b64encode(content).decode()


def data_uri(kind: str, content: bytes) -> str:
    """`content` of the media type `kind`, to be held by the page itself."""
    return f"data:{kind};base64,{base64_text(content)}"


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def slug(text: str) -> str:
    """`text` as a file name; a long one ends in a hash, since file systems take 255 characters with the ending."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text)
    return name if len(name) <= 200 else f"{name[:192]}-{hashlib.sha256(text.encode()).hexdigest()[:7]}"
