"""Decoding ahead of the network and writing behind it, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


def prefetch(items: Iterable[T], ahead: int = 4) -> Generator[T, None, None]:
    """`items`, in their order, of which up to `ahead` are made in advance by another thread.

    What making one raises is raised in its place. A generator in `items` is closed at the end, also when this one is closed
    early: wrap it in `contextlib.closing` to have that happen at once.
    """
    iterator = iter(items)
    try:
        with ThreadPoolExecutor(1, "adnet-read") as pool:
            waiting: deque[Future[T]] = deque(pool.submit(next, iterator, _END) for _ in range(ahead))
            try:
                while (item := waiting.popleft().result()) is not _END:
                    waiting.append(pool.submit(next, iterator, _END))
                    yield item
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        if (close := getattr(iterator, "close", None)) is not None:
            close()


@contextmanager
def write_behind(write: Callable[..., None], behind: int = 8) -> Iterator[Callable[..., None]]:
    """`put(*arguments)`, which has another thread call `write(*arguments)`, in order, and waits while `behind` are to be done.

    All that was put is written before the block ends, also where it ends in an exception. What `write` raises is raised by
    a later `put` or at the end.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "adnet-write") as pool:

        def put(*arguments: Any) -> None:
            while waiting and (len(waiting) >= behind or waiting[0].done()):
                waiting.popleft().result()
            waiting.append(pool.submit(write, *arguments))

        yield put
    for future in waiting:
        future.result()
