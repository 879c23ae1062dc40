"""What can befall a training that is nobody's mistake, said in one line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from adnet.errors import UserError


@contextmanager
def explained(out_of_memory: Callable[[], str]) -> Iterator[None]:
    """Raise UserError where a loader worker died, most often for want of memory, or a GPU has too little: `out_of_memory()` says so.

    Of a worker PyTorch says so in a RuntimeError, or not at all: then the connection to it is gone.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(out_of_memory()) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        died = re.search(r"DataLoader worker \(pid[^:]*", str(error))
        if isinstance(error, RuntimeError) and not died:
            raise
        raise UserError(
            f"{died[0].rstrip(' .') if died else 'a DataLoader worker died'}: if memory ran out, take fewer pairs.workers; the "
            "same command goes on from the last checkpoint"
        ) from error
