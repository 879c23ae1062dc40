"""Read NumPy files, which may be damaged or untrusted: completely, or not at all."""

import tokenize
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from adnet.errors import UserError

Array = npt.NDArray[Any]

_DAMAGE = (OSError, ValueError, EOFError, MemoryError, BadZipFile, zlib.error, tokenize.TokenError)
"""What NumPy raises for a file that is empty or truncated, or has a wrong byte in its header or its compressed data."""


def read_array(file: Path) -> Array:
    """Read the array in an `.npy` file; no object in it is unpickled. Raises UserError if it can't be read."""
    with _readable(file), file.open("rb") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def read_arrays(file: Path) -> dict[str, Array]:
    """Read all arrays in an `.npz` file by their names; no object in it is unpickled. Raises UserError if one can't be read."""
    with _readable(file), file.open("rb") as stream:
        return dict(np.lib.npyio.NpzFile(stream, allow_pickle=False))


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"cannot read the array {file}: {reason}; replace the file") from error
