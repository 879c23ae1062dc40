"""Every key of every command with a value of a wrong type or beyond its edge: one line, or a result."""

from __future__ import annotations

import random
from typing import Annotated, Any, get_args, get_origin

import hydra
import pytest
from omegaconf import OmegaConf
from pydantic.fields import FieldInfo

from adnet.shared.check_config import value_type
from adnet.shared.command import conf_dir

from .conftest import COMMANDS, Kitchen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60, func_only=True)]

SEED = 14
VALUES = ("null", "-1", "0", "1.5", "a_text", "[]", "[a]", "{a: 1}", "true", ".nan", ".inf", "''", "[0,0]", "a" * 300)
GROUP = object()
"""In the place of the type of a key that holds a group."""
LEFT_ALONE = ("overwrite", "resume", "host")
"""The first two say nothing of a folder with nothing in it; the third is read after Gradio's import: in tests/app/test_page.py."""


def leaves(node: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The type of each key's value; groups, at any depth, are keys, too."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and value:
            found |= {name: GROUP} | leaves(value, f"{name}.")
        elif not key.startswith("_"):
            found[name] = value_type(name, value, node.get("_target_"))
    return found


def below(hint: Any) -> str | None:
    """A number just below those of a type with limits."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Annotated:
            for limit in FieldInfo.from_annotation(part).metadata:
                if hasattr(limit, "gt"):
                    return str(limit.gt)
                if hasattr(limit, "ge"):
                    return str(limit.ge - (1 if get_args(part)[0] is int else 0.5))
    return None


def cases() -> list[Any]:
    """A value for each key, and for those with limits one on each side of the lower; a key of several commands goes to one."""
    rng = random.Random(SEED)
    found: dict[str, Any] = {}
    for command in COMMANDS:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            keys = leaves(OmegaConf.to_container(hydra.compose(command)))  # type: ignore[arg-type]
        for key, hint in keys.items():
            if key not in found and key not in LEFT_ALONE:
                value = None if hint is GROUP else below(hint)
                one = "null" if hint is GROUP else rng.choice(VALUES) if value is None else value
                found[key] = pytest.param(command, key, one, value is not None, id=f"{command}-{key}-{one:.20}")
    return [*found.values()]


@pytest.mark.parametrize(("command", "key", "value", "refused"), cases())
def test_a_value_is_one_line_or_a_result(kitchen: Kitchen, command: str, key: str, value: str, refused: bool) -> None:
    answer = kitchen.call(command, f"{key}={value}")
    if refused:
        assert answer.code == 1
        assert answer.line.startswith(f"adnet: {key}={value}: expected ")
    if answer.code == 1 and answer.left:
        again = kitchen.call(command)
        assert again.code == 0, again.line
