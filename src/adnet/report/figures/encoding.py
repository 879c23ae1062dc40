"""Encode pictures and numbers for the page and the files beside it."""

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
    """Encode an RGB picture `[H, W, 3]` as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=82, optimize=True)
    return stream.getvalue()


def base64_text(content: bytes) -> str:
    """Encode `content` in base64."""
    return base64.b64encode(content).decode()


def data_uri(kind: str, content: bytes) -> str:
    """Encode `content`, of media type `kind`, as a data URI, which a page can contain."""
    return f"data:{kind};base64,{base64_text(content)}"


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with a header."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def slug(text: str) -> str:
    """Turn `text` into a file name. A long one is cut off and ends in a hash: file systems allow 255 characters."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text)
    return name if len(name) <= 200 else f"{name[:192]}-{hashlib.sha256(text.encode()).hexdigest()[:7]}"
