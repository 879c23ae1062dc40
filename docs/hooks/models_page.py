"""The page `reference/models.md`: scores of trained networks, read from the result files in `experiments`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

INTRODUCTION = """# Models

When this page is built, every row is read from the `scores.json` that it names; nothing here is typed by hand. The linked page has
the commands and the machine. J and F in percent: mean, recall (share of frames above 50), decay (the first quarter of a video minus the
last).

| result | data set | sequences | protocol | J | recall | decay | F | recall | decay |
| --- | --- | --: | --- | --: | --: | --: | --: | --: | --: |
"""
CLOSE = """
`experiments/beyond/released.json` is the [network that comes with the package](../released_model.md). There is no result at the paper's
scale yet.
"""


def results(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and scores of each network in `root/experiments`."""
    for file in sorted(root.glob("experiments/**/*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and {"protocol", "mean", "sequences"} <= content.keys():
            yield file.relative_to(root).as_posix(), content


def row(path: str, scores: dict[str, Any]) -> str:
    """A row of the table."""
    folder, *parts = path.split("/")[1:]
    name = parts[0] if len(parts) == 1 else parts[1]  # a file, or runs/RUN/evaluation/.../scores.json
    numbers = [
        f"{100 * scores['mean'][measure][value]:.1f}" for measure in "JF" for value in ("mean", "recall", "decay")
    ]
    cells = [
        f"[`{folder}/{name}`](../experiments/{folder}.md)",
        f"`{scores['dataset']}` {scores['split']}",
        str(len(scores["sequences"])),
        f"`{scores['protocol']}`",
        *numbers,
    ]
    return f"| {' | '.join(cells)} |\n"


def page(root: Path) -> str:
    """The page's Markdown."""
    return INTRODUCTION + "".join(row(*result) for result in results(root)) + CLOSE


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "reference/models.md", content=page(Path(config.config_file_path).parent)))
    return files
