from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from adnet.shared.value_types import FrameSize, Proportion, choices, described, fits


@pytest.mark.parametrize(
    ("hint", "inside", "outside"),
    [
        (PositiveInt, [1, 10**9], [0, 1.0, True, "1", None]),
        (Proportion, [0, 0.5, 1], [-0.1, 1.1, False, [0], float("nan")]),
        (PositiveFloat, [1e-9, 3], [0, 0.0]),
        (PositiveInt | None, [1, None], [0]),
        (
            FrameSize,
            [[17, 25], [193, 337]],
            [[9, 17], [193, 336], [193], [193, 337, 337], 193, [193.0, 337], {"a": 17}],
        ),
        (float, [1, 1.5, float("inf")], [True, "1", None]),
        (str | Path, ["a", ""], [1, ["a"]]),
        (tuple[float, ...], [[], [1, 2.5]], [1, ["a"]]),
        (Sequence[str], [["a"], []], ["a", [1]]),
        (Mapping[str, int], [{"a": 1}], [3, {"a": "b"}]),
        (Literal["one", 2] | bool, ["one", 2, False], ["two", 1, 0, None]),
        (torch.nn.Module | None, [None], [3, "Module", {}]),
        (float | torch.Tensor, [0.1], ["x"]),
        (Callable[[int], int] | None, [None], [3]),
        (Any, [None, 3, [{"a": None}]], []),
    ],
)
def test_fits(hint: Any, inside: list[Any], outside: list[Any]) -> None:
    assert [fits(value, hint) for value in inside] == [True] * len(inside)
    assert [fits(value, hint) for value in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (PositiveInt, "a whole number of at least 1"),
        (NonNegativeFloat | None, "a number of at least 0 or null"),
        (PositiveFloat, "a number above 0"),
        (Annotated[float, Field(gt=0, le=1)], "a number above 0 and at most 1"),
        (Annotated[int, Field(ge=1, le=9)], "a whole number of at least 1 and at most 9"),
        (FrameSize, "[height, width] in pixels, each 8k+1 and at least 17, such as [193,337]"),
        (list[str | int] | Path, "a list of text or a whole number or a path"),
        (tuple[int, ...], "a list of a whole number"),
        (Literal["one", 2] | bool, "one or 2 or true or false"),
        (torch.nn.Module, "Module"),
        (list, "a list"),
    ],
)
def test_described(hint: Any, words: str) -> None:
    assert described(hint) == words


def test_choices_are_those_of_every_literal() -> None:
    assert choices(Literal["one", 2] | list[Literal["three"]] | None) == ["one", "three"]
