"""Result files against the schemas that the documentation shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from adnet.shared.file_formats import json_schema


def hold(file: Path, name: str | None = None) -> Any:
    """The content of a file that is as its schema says."""
    schema = json_schema(name or file.stem)
    Draft202012Validator.check_schema(schema)
    content = json.loads(file.read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(content)] == []
    return content
