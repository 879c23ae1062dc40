"""Two processes at once with one place to write to: each ends in one line or in a right result, which is that of one of them."""

from __future__ import annotations

import multiprocessing
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from two_processes import two_at_once

from .conftest import COMMANDS, Kitchen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120, func_only=True)]

SEED = 14
SHARDS = ("shard=0", "shards=2"), ("shard=1", "shards=2")

CASES: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    # command, arguments of the one, of the other
    ("score", (), ()),
    ("score", (), ("predictions=maps",)),
    ("predict", (), ()),
    ("predict", (), ("input=clip.mp4",)),
    ("predict", (), ("protocol.threshold=0.4", "overwrite=true")),
    ("predict", ("input=[clip,clip.mp4]", *SHARDS[0]), ("input=[clip,clip.mp4]", *SHARDS[1])),
    ("predict", ("backend=onnx", "output=out/a"), ("backend=onnx", "output=out/b")),
    ("evaluate", (), ()),
    ("evaluate", (), ("checkpoint=motion.ckpt",)),
    ("evaluate", SHARDS[0], SHARDS[1]),
    ("evaluate", SHARDS[0], (*SHARDS[1], "protocol.threshold=0.4")),
    ("export", (), ()),
    ("export", (), ("checkpoint=motion.ckpt",)),
    ("export", ("format=onnx",), ("format=onnx",)),
    ("report", (), ()),
    ("report", (), ("title=another",)),
    ("benchmark", (), ()),
    ("dashboard", (), ("name=another",)),
    ("download", ("data.root=new",), ("data.root=new",)),
    ("train", (), ()),
    ("train", (), ("seed=1",)),
]


@pytest.fixture(scope="session")
def context() -> Any:
    """Processes that have all imports done and have computed nothing yet, so that they can be forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["two_processes"])
    return context


def cases() -> list[Any]:
    return [
        pytest.param(command, first, second, id=f"{command}-{number}")
        for number, (command, first, second) in enumerate(CASES)
    ]


@pytest.mark.parametrize(("command", "first", "second"), cases())
def test_two_at_once(
    kitchen: Kitchen, context: Any, command: str, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    rng = random.Random(f"{SEED} {command} {first} {second}")
    expected = []
    for arguments in (first, second):
        assert kitchen.call(command, *arguments).code == 0
