from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adnet.errors import UserError
from adnet.shared.arrays import read_array, read_arrays

ARRAY = np.arange(1000, dtype=np.float32).reshape(20, 50)


def content(save: Any = np.save, *arrays: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


ONE, SEVERAL = content(np.save, ARRAY), content(np.savez_compressed, values=ARRAY, names=np.array(["a", "b"]))


def flipped(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]


def test_arrays_come_back(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(ONE)
    (tmp_path / "several").write_bytes(SEVERAL)
    np.testing.assert_array_equal(read_array(tmp_path / "one"), ARRAY)
    found = read_arrays(tmp_path / "several")
    assert {name: array.tolist() for name, array in found.items()} == {"values": ARRAY.tolist(), "names": ["a", "b"]}


@pytest.mark.parametrize(
    ("read", "damaged"),
    [
        (read_array, None),
        (read_array, b""),
        (read_array, b"text"),
        (read_array, b"PK\x03\x04 cut off"),
        (read_array, ONE[:30]),
        (read_array, ONE[:-1]),
        (read_array, ONE.replace(b"(20, 50)", b"(20, 50(")),
        (read_array, SEVERAL),
        (read_array, content(np.save, np.array([{}], dtype=object))),
        (read_arrays, None),
        (read_arrays, b""),
        (read_arrays, b"PK"),
        (read_arrays, SEVERAL[: len(SEVERAL) // 2]),
        (read_arrays, SEVERAL[:-9]),
        (read_arrays, flipped(SEVERAL, 60)),
        (read_arrays, flipped(content(np.savez, values=ARRAY), 2000)),
        (read_arrays, ONE),
        (read_arrays, content(np.savez, values=np.array([{}], dtype=object))),
    ],
)
def test_what_is_damaged_is_one_line(tmp_path: Path, read: Any, damaged: bytes | None) -> None:
    file = tmp_path / "bear.npz"
    if damaged is not None:
        file.write_bytes(damaged)
    with pytest.raises(UserError, match=r"^cannot read the array .*bear\.npz: .+; replace the file$") as caught:
        read(file)
    assert "\n" not in str(caught.value)
