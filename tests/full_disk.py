"""What stands for a disk without room."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """No file grows beyond so many bytes: as on a full disk, but the error is EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
