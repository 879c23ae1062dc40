"""Examples in docstrings run, and what the documentation imports has one."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
    for file in sorted((ROOT / "src" / "adnet").rglob("*.py"))
    if ">>> " in file.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_what_they_say(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = doctest.testmod(import_module(module))
    assert (ended.failed, ended.attempted > 0) == (0, True)


def test_what_documentation_imports_has_an_example() -> None:
    documents = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
    found = {
        (module, name)
        for document in documents
        for module, names in re.findall(r"from (adnet[\w.]*) import ([\w, ]+)", document.read_text())
        for name in names.split(", ")
    }
    objects = [getattr(import_module(module), name) for module, name in found]
    assert len(objects) > 10
    assert [thing for thing in objects if callable(thing) and ">>> " not in (thing.__doc__ or "")] == []
