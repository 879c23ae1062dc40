"""Two processes at once with one place to write to: each ends in one line or in a right result, which is that of one of them."""

from __future__ import annotations

import os
import random
import shutil
from typing import Any

import pytest
from two_processes import both

from .conftest import Kitchen, with_usual

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200, func_only=True)]

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
    ("predict", ("backend=openvino", "output=out/a"), ("backend=openvino", "output=out/b")),
    ("evaluate", (), ()),
    ("evaluate", (), ("checkpoint=motion.ckpt",)),
    ("evaluate", SHARDS[0], SHARDS[1]),
    ("export", (), ()),
    ("export", (), ("checkpoint=motion.ckpt",)),
    ("report", (), ()),
    ("report", (), ("title=another",)),
    ("benchmark", (), ()),
    ("dashboard", (), ("name=another",)),
    ("convert", (), ()),
    ("train", (), ()),
    ("train", (), ("seed=1",)),
]


def cases() -> list[Any]:
    return [
        pytest.param(command, first, second, id=f"{command}-{number}")
        for number, (command, first, second) in enumerate(CASES)
    ]


@pytest.mark.parametrize(("command", "first", "second"), cases())
def test_two_at_once(kitchen: Kitchen, command: str, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """Whoever came first; with shards both, in what one process alone would have left."""
    rng = random.Random(f"{SEED} {command} {first} {second}")
    whole = [tuple(word for word in arguments if not word.startswith("shard")) for arguments in (first, second)]
    expected = [kitchen.expected(command, *arguments) for arguments in whole]
    shutil.rmtree(kitchen.folder / "cache", ignore_errors=True)
    for left in kitchen.folder.glob("last-openvino-*"):
        shutil.rmtree(left)
    usual = [with_usual(command, arguments) for arguments in (first, second)]
    ended = both(command, *usual, rng.choice([0, 0.1, 0.5]), os.environ)
    for code, err in ended:
        assert code in (0, 1), err
        assert "Traceback" not in err
        assert sum(line.startswith("adnet: ") for line in err.splitlines()) == code, err
    results = [found for found, (code, _) in zip(expected, ended, strict=True) if code == 0]
    assert results, ended
    found = kitchen.out()
    if any("output=" in word for word in first):  # a place for each
        results = [expected[0] | expected[1]]
    assert any(alike(found, result) for result in results), sorted(found)


def alike(found: dict[str, bytes], result: dict[str, bytes]) -> bool:
    """Whether all that doesn't tell the time is the same."""
    told = (".png", ".yaml", ".html", ".safetensors", "scores.json", "config.json")
    return found.keys() == result.keys() and all(
        found[name] == content for name, content in result.items() if name.endswith(told)
    )
