from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from adnet.video.threads import in_parallel, write_behind


def test_order_is_kept_and_everything_comes() -> None:
    assert list(in_parallel(int, range(100), 3)) == list(range(100))
    assert list(in_parallel(int, [], 3)) == []


def test_another_thread_reads_ahead_but_not_far() -> None:
    read, threads, enough = 0, set(), threading.Event()

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in count():
            read += 1
            threads.add(threading.get_ident())
            if read == 4:
                enough.set()
            yield number

    with closing(in_parallel(int, numbers(), 3)) as items:
        assert next(items) == 0
        assert enough.wait(30)  # read while nobody asks
        assert next(items) == 1
    assert 4 <= read <= 5
    assert threading.get_ident() not in threads


def test_an_error_comes_in_its_place_and_the_source_is_closed() -> None:
    closed = []

    def broken() -> Iterator[int]:
        try:
            yield 1
            yield 2
            raise ValueError("damaged")
        finally:
            closed.append(True)

    items = in_parallel(int, broken(), 4)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        next(items)
    with closing(in_parallel(int, broken(), 4)) as items:
        next(items)
    assert closed == [True, True]


def test_no_thread_is_left_after_an_interruption() -> None:
    before = threading.active_count()

    def interrupted() -> None:
        with closing(in_parallel(int, count(), 4)) as items, write_behind(str) as put:
            for number in items:
                put(number)
                if number == 20:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_all_is_written_in_order_even_when_the_block_fails() -> None:
    written: list[int] = []
    release = threading.Event()

    def write(number: int) -> None:
        release.wait(30)
        written.append(number)

    def fail() -> None:
        with write_behind(write, behind=5) as put:
            for number in range(5):
                put(number)
            release.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert written == [0, 1, 2, 3, 4]


def test_put_waits_for_room() -> None:
    written: list[int] = []
    longest = 0
    with write_behind(written.append, behind=3) as put:
        for number in range(50):
            put(number)
            longest = max(longest, number + 1 - len(written))
    assert written == list(range(50))
    assert longest <= 3


def test_a_failed_write_is_raised() -> None:
    def write(number: int) -> None:
        if number == 3:
            raise OSError("no space left on device")

    def put_all(numbers: range) -> None:
        with write_behind(write, behind=2) as put:
            for number in numbers:
                put(number)

    with pytest.raises(OSError, match="no space left"):
        put_all(range(4))  # the last of all
    with pytest.raises(OSError, match="no space left"):
        put_all(range(100))
