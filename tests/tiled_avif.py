"""Write an AVIF of 2 x 2 tiles, as phones write large HEIF pictures: Pillow encodes the tiles, the grid is written by hand."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def write_tiled_avif(file: Path, image: np.ndarray) -> Path:
    """Write RGB `[H, W, 3]`, whose sides are even and whose tiles have at least 64 pixels a side."""
    height, width = (side // 2 for side in image.shape[:2])
    parts = [image[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    encoded = [_encoded(part) for part in parts]
    tiles = [next(body for kind, body in _boxes(content) if kind == b"mdat") for content in encoded]
    meta = dict(_boxes(encoded[0]))[b"meta"][4:]
    properties = dict(_boxes(dict(_boxes(dict(_boxes(meta))[b"iprp"]))[b"ipco"]))
    grid = struct.pack(">BBBBHH", 0, 0, 1, 1, 2 * width, 2 * height)

    def whole(base: int) -> bytes:
        places = struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(grid))
        for number, tile in enumerate(tiles, start=2):
            places += struct.pack(">HHHHII", number, 0, 0, 1, base, len(tile))
            base += len(tile)
        items = [(1, b"grid"), *((number, b"av01") for number in range(2, 6))]
        infos = (_full(b"infe", 2, 0, struct.pack(">HH4s", number, 0, kind) + b"\0") for number, kind in items)
        shared = _box(
            b"ipco",
            _full(b"ispe", 0, 0, struct.pack(">II", 2 * width, 2 * height)),
            _full(b"ispe", 0, 0, struct.pack(">II", width, height)),
            _box(b"av1C", properties[b"av1C"]),
            _full(b"pixi", 0, 0, b"\3\x08\x08\x08"),
        )
        owners = struct.pack(">IH", 5, 1) + bytes([2, 1, 4])
        owners += b"".join(struct.pack(">H", number) + bytes([3, 2, 0x83, 4]) for number in range(2, 6))
        return _box(b"ftyp", b"avif\0\0\0\0avifmif1miaf") + _full(
            b"meta",
            0,
            0,
            _full(b"hdlr", 0, 0, b"\0\0\0\0pict" + b"\0" * 13),
            _full(b"pitm", 0, 0, struct.pack(">H", 1)),
            _full(b"iloc", 1, 0, b"\x44\0" + struct.pack(">H", 5) + places),
            _full(b"iinf", 0, 0, struct.pack(">H", 5), *infos),
            _full(b"iref", 0, 0, _box(b"dimg", struct.pack(">HH4H", 1, 4, 2, 3, 4, 5))),
            _box(b"iprp", shared, _full(b"ipma", 0, 0, owners)),
            _box(b"idat", grid),
        )

    file.write_bytes(whole(len(whole(0)) + 8) + _box(b"mdat", *tiles))
    return file


def _encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "AVIF", quality=90)
    return buffer.getvalue()


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(content):
        size, kind = struct.unpack(">I4s", content[place : place + 8])
        yield kind, content[place + 8 : place + size]
        place += size


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
