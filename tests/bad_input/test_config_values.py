"""Every key of every command with a value of a wrong type or beyond its edge: one line, or a result."""

from __future__ import annotations

import random
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from adnet.shared.check_values import LIMITS
from adnet.shared.command import conf_dir

from .conftest import COMMANDS, Kitchen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60, func_only=True)]

SEED = 14
VALUES = ("null", "-1", "0", "1.5", "a_text", "[]", "[a]", "{a: 1}", "true", ".nan", ".inf", "''", "[0,0]", "a" * 300)
LEFT_ALONE = ("overwrite", "resume")  # which say nothing of a folder with nothing in it


def leaves(node: dict[str, Any], path: str = "") -> list[str]:
    found: list[str] = []
    for key, value in node.items():
        if isinstance(value, dict) and value:
            found += leaves(value, f"{path}{key}.")
        elif not key.startswith("_"):
            found.append(f"{path}{key}")
    return found


def cases() -> list[Any]:
    """A value for each key, and for those with limits one on each side of the lower; a key of several commands goes to one."""
    rng = random.Random(SEED)
    found: dict[str, list[Any]] = {}
    for command in COMMANDS:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            keys = leaves(OmegaConf.to_container(hydra.compose(command)))  # type: ignore[arg-type]
        for key in keys:
            if key in found or key in LEFT_ALONE:
                continue
            values = [rng.choice(VALUES)]
            if key in LIMITS:
                least = LIMITS[key].least
                values = [str(int(least) - 1) if LIMITS[key].whole else f"{least - 0.5}"]
            found[key] = [pytest.param(command, key, value, id=f"{command}-{key}-{value:.20}") for value in values]
    return [case for cases in found.values() for case in cases]


@pytest.mark.parametrize(("command", "key", "value"), cases())
def test_a_value_is_one_line_or_a_result(kitchen: Kitchen, command: str, key: str, value: str) -> None:
    answer = kitchen.call(command, f"{key}={value}")
    if key in LIMITS:
        assert answer.code == 1
        assert answer.line.startswith(f"adnet: {key}={value}: expected ")
    if answer.code == 1 and answer.left:
        again = kitchen.call(command)
        assert again.code == 0, again.line
