from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adnet.errors import UserError
from adnet.shared.file_formats import FORMATS, json_schema, read_document

CURVE = {"frames": ["00000"], "distance": [0.5, None]}
DRIFT: dict[str, Any] = {"variant": "full", "size": [17, 25], "sequences": {"bear": CURVE}}


def written(folder: Path, document: Any) -> Path:
    file = folder / "embeddings.json"
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize("name", FORMATS)
def test_schemas_are_schemas(name: str) -> None:
    schema = json_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == f"{name}.json"
    assert schema["description"].endswith(".")


def test_a_document_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_document(written(tmp_path, DRIFT), "embeddings", ("*",)) == DRIFT


def test_what_another_version_wrote_is_read(tmp_path: Path) -> None:
    document = {"sequences": {"bear": {"distance": [0, 1], "angle": 3}}, "more": {}}
    assert read_document(written(tmp_path, document), "embeddings", ("sequences", "*.distance")) == document


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ({}, "the entry `sequences` is missing; write the file again"),
        ({"sequences": {"bear": {}}}, "the entry `sequences.bear.distance` is missing; write the file again"),
        (DRIFT | {"sequences": []}, "`sequences`: expected type object, got []; write the file again"),
        (DRIFT | {"variant": None}, "`variant`: expected type string, got None; write the file again"),
        (DRIFT | {"size": [17, 9]}, "`size.1`: expected minimum 17, got 9; write the file again"),
        (DRIFT | {"size": [17, math.nan]}, "`size.1`: expected type integer, got 'NaN'; write the file again"),
        (DRIFT | {"size": [17, "25"]}, "`size.1`: expected type integer, got '25'; write the file again"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, document: Any, line: str) -> None:
    file = written(tmp_path, document)
    with pytest.raises(UserError) as error:
        read_document(file, "embeddings", ("sequences", "*.distance"))
    assert str(error.value) == f"{file}: {line}"
