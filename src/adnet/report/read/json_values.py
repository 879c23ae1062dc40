"""Read entries of JSON files that may be malformed: every error names the file and the entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adnet.errors import UserError


def entry(document: Any, file: Path, *keys: str) -> Any:
    """Return `document[keys[0]][keys[1]]...`. Raises UserError for the first missing key."""
    for depth, key in enumerate(keys):
        if not isinstance(document, dict) or key not in document:
            raise UserError(f"{file}: the entry `{'.'.join(keys[: depth + 1])}` is missing; write the file again")
        document = document[key]
    return document


def optional(document: Any, file: Path, key: str, *kinds: type) -> Any:
    """Return `document[key]`, or None if it is missing or null. Raises UserError for a value of another type, or NaN."""
    value = document.get(key) if isinstance(document, dict) else None
    if value is None or (isinstance(value, kinds) and not isinstance(value, bool) and value == value):
        return value
    known = " or ".join(dict.fromkeys(_WORDS[kind] for kind in kinds))
    raise UserError(f"{file}: expected {known} as `{key}`, got {value!r:.60}; write the file again")


_WORDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number"}


def number(value: Any, file: Path) -> float | None:
    """Return `value` as a float, or None for null. Raises UserError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{file}: expected a number, got {value!r}; write the file again")
    return float(value)


def required_number(value: Any, file: Path) -> float:
    """Return `value` as a float. Raises UserError for anything else, including null."""
    found = number(value, file)
    if found is None:
        raise UserError(f"{file}: expected a number, got null; write the file again")
    return found


def numbers(values: Any, file: Path) -> list[float]:
    """Return a list of numbers, with NaN for null. Raises UserError for anything else."""
    if not isinstance(values, list):
        raise UserError(f"{file}: expected a list of numbers, got {type(values).__name__}; write the file again")
    return [float("nan") if value is None else required_number(value, file) for value in values]
