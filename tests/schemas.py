"""Result files against the schemas that the documentation shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[1]


def hold(file: Path, name: str | None = None) -> Any:
    """The content of a file that is as its schema says."""
    schema = json.loads((ROOT / "docs" / "reference" / f"{name or file.stem}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    content = json.loads(file.read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(content)] == []
    return content
