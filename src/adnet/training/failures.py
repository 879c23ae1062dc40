"""What can befall a training that is nobody's mistake, said in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from adnet.errors import UserError


@contextmanager
def explained() -> Iterator[None]:
    """Raise UserError where a loader worker died, most often for want of memory.

    PyTorch says so in a RuntimeError, or not at all: then the connection to it is gone.
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        died = re.search(r"DataLoader worker \(pid[^:]*", str(error))
        if isinstance(error, RuntimeError) and not died:
            raise
        raise UserError(
            f"{died[0].rstrip(' .') if died else 'a DataLoader worker died'}: if memory ran out, take fewer pairs.workers; the "
            "same command goes on from the last checkpoint"
        ) from error
