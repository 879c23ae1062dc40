"""Types of config values: check a value against an argument's annotation, limits included, and describe what it allows."""

import types
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PydanticUserError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError, to_json

Text = Annotated[str, Field(min_length=1, description="text")]
"""A non-empty name or path: an empty one, from `KEY=$UNSET` in a shell, would be the working directory."""

Proportion = Annotated[float, Field(ge=0, le=1)]


def _on_grid(side: int) -> int:
    if side % 8 != 1:
        raise ValueError("not 8k+1")
    return side


_Side = Annotated[int, Field(ge=17), AfterValidator(_on_grid)]
FrameSize = Annotated[
    tuple[_Side, _Side], Field(description="[height, width] in pixels, each 8k+1 and at least 17, such as [193,337]")
]
"""Height and width of frames for the network: at 8k + 1, the corners of its stride-8 grid lie on the frame's corner pixels."""

_AS_YAML = ConfigDict(strict=True, arbitrary_types_allowed=True)
_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    list: "a list",
    type(None): "null",
}


def fits(value: Any, hint: Any) -> bool:
    """Return whether `value`, as YAML reads it, is of type `hint` without conversion.

    A list fits a tuple, text a path, a whole number a float. No value fits a class, which only a `_target_` can build.
    """
    if (checked := _checked(hint)) is None:
        return True
    try:
        # Like YAML, JSON has lists for tuples and strings for paths.
        checked.model_validate_json(to_json({"value": value}))
    except ValueError:  # a ValidationError, or a value that JSON lacks
        return False
    return True


@cache
def _checked(hint: Any) -> type[BaseModel] | None:
    """Make a model whose `value` is of type `hint`; None if pydantic can't check it."""
    try:
        return create_model("Checked", __config__=_AS_YAML, value=(hint, ...))
    except (PydanticUserError, SchemaError):
        return None


def described(hint: Any) -> str:
    """Describe the values of type `hint`: for `Proportion | None`, "a number of at least 0 and at most 1 or null"."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _limited(FieldInfo.from_annotation(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(map(described, arguments))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (list, tuple, Sequence):
        return f"a list of {' and '.join(described(item) for item in arguments if item is not Ellipsis)}"
    return _NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def choices(hint: Any) -> list[str]:
    """List the strings that the `Literal` types in `hint` allow."""
    if get_origin(hint) is Literal:
        return [choice for choice in get_args(hint) if isinstance(choice, str)]
    return [choice for argument in get_args(hint) for choice in choices(argument)]


def _limited(field: FieldInfo) -> str:
    if field.description:
        return field.description
    words = {"gt": "above", "ge": "of at least", "le": "at most"}
    limits = {name: getattr(limit, name) for limit in field.metadata for name in words if hasattr(limit, name)}
    if field.annotation is int and "gt" in limits:
        limits["ge"] = limits.pop("gt") + 1
    said = " and ".join(f"{words[name]} {limit}" for name, limit in sorted(limits.items()))
    return f"{described(field.annotation)} {said}"
