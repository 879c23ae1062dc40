"""Spread work over all cores."""

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
    """Yield `function(item)` for each item, in order, computed by `workers` processes (None: one per core; 1: only this one).

    Workers import only the module of `function`, not the calling script.
    """
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    # Spawn, don't fork: a fork can hang after torch or CUDA have started threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (0,)) as pool:
        with _no_main():
            results = pool.map(function, items)
        yield from results


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep workers started in this block from importing the running script.

    An entry point would import torch, which takes longer than scoring, and a script without `if __name__ == "__main__":`
    would run again in each worker.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
