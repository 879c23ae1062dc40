"""The same work on all cores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from types import ModuleType
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_workers(function: Callable[[Item], Result], items: list[Item], workers: int | None) -> Iterator[Result]:
    """`map(function, items)`, in order, shared by `workers` processes (all cores by default; 1 stays in this one).

    Workers import the module of `function` and nothing else: neither torch, unless that module does, nor the script that
    called.
    """
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    # Spawned, not forked: a fork after torch or CUDA have started threads can hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (0,)) as pool:
        with _no_main():
            results = pool.map(function, items)
        yield from results


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep the workers that are started in here from importing the script that is running.

    An entry point would bring torch with it, for longer than scoring takes, and a script without
    `if __name__ == "__main__":` would run once more in each.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
