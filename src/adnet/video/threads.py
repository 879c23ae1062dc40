"""Read ahead of the network, work on several frames at once, and write behind, each in threads of its own."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")

FRAMES_IN_FLIGHT = 2
"""How many frames may be worked on at the same time on a CPU, each with its share of PyTorch's threads."""

_END: Any = object()


def in_parallel(
    work: Callable[[S], T], items: Iterable[S], workers: int, start: Callable[[], None] | None = None
) -> Generator[T, None, None]:
    """Yield `work(item)` for each of `items`, in their order, computed in `workers` threads, each of which calls `start` first.

    Another thread takes up to `workers` items in advance. An exception, of an item or of its work, is raised in the place of its
    result.
    """
    iterator = iter(items)
    reader, pool = ThreadPoolExecutor(1, "adnet-read"), ThreadPoolExecutor(workers, "adnet-work", start)

    def take() -> Future[T] | None:
        item = next(iterator, _END)
        return None if item is _END else pool.submit(work, item)

    try:
        waiting = deque(reader.submit(take) for _ in range(workers))
        while (job := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(take))
            yield job.result()
    finally:
        for executor in (reader, pool):
            executor.shutdown(cancel_futures=True)


@contextmanager
def write_behind(write: Callable[..., None], behind: int = 8) -> Iterator[Callable[..., None]]:
    """Yield `put(*arguments)`, which makes another thread call `write(*arguments)`, in order.

    `put` waits while `behind` calls are pending; all are done when the block ends. What `write` raises is raised by a later `put`,
    or at the end of the block.
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
