"""The JSON files that commands write and read: their schemas (`file_formats.yaml`), and a check of what is read."""

from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from adnet.errors import UserError
from adnet.shared.files import read_json

_DESCRIBED: dict[str, Any] = yaml.safe_load(
    files(__package__).joinpath("file_formats.yaml").read_text(encoding="utf-8")
)

FORMATS = tuple(name for name in _DESCRIBED if name != "shared")
"""The names of the files without `.json`."""


@cache
def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a format, as the current version writes it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{name}.json", **_DESCRIBED[name]}


def read_document(
    file: Path, name: str, needs: Collection[str] = (), advice: str = "write the file again"
) -> dict[str, Any]:
    """Read a JSON file of the format `name`. Raises UserError, with `advice`, for an entry that violates the schema.

    Files of other versions may have additional entries, and may lack any except those that match `needs` (`sequences.*.mean`).
    """
    document = read_json(file)
    for error in Draft202012Validator(json_schema(name)).iter_errors(document):
        where = [*map(str, error.absolute_path)]
        if error.validator == "required":
            for key in error.validator_value:
                entry = ".".join([*where, key])
                if key not in error.instance and any(fnmatchcase(entry, pattern) for pattern in needs):
                    raise UserError(f"{file}: the entry `{entry}` is missing; {advice}")
        elif error.validator != "additionalProperties":
            limit = error.validator_value
            wanted = f"{error.validator} {' or '.join(limit) if isinstance(limit, list) else limit}"
            raise UserError(f"{file}: `{'.'.join(where)}`: expected {wanted}, got {error.instance!r:.60}; {advice}")
    return document
