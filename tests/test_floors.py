"""The house plan of docs/architecture.md, held against the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "adnet"


def floors() -> list[str]:
    """The rooms as the page lists them, from the ground floor up."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    return re.findall(r"^\| `(\w+)/` \|", text, flags=re.MULTILINE)[::-1]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_folder_is_a_room_of_the_page() -> None:
    assert sorted(floors()) == sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def test_imports_go_downwards_only() -> None:
    order = floors()
    upwards = []
    for room in order:
        allowed = {*order[: order.index(room) + 1], "errors"}
        for file in (SOURCE / room).rglob("*.py"):
            for module in imports(file):
                first, _, rest = module.partition(".")
                if first == "adnet" and rest and rest.partition(".")[0] not in allowed:
                    upwards.append(f"{file.relative_to(SOURCE)} imports {module}")
    assert upwards == []


def test_the_top_holds_entry_points_alone() -> None:
    entry_points = {path.stem for path in (ROOT / "conf").glob("*.yaml")}
    top = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__", "errors"}
    assert top <= entry_points
