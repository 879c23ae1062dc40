"""The tables of `reference/datasets.md`, from the entries in `adnet.data.datasets` and their files in `conf/data`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

from adnet.data.known_dataset import DATASETS, KnownDataset

CONF = Path(__file__).parents[2] / "conf" / "data"


def paragraph(known: KnownDataset, number: int) -> str:
    """A paragraph of the docstring of the dataset's function, as one line."""
    return " ".join(f"{inspect.getdoc(known.find)}".split("\n\n")[number].split()).removeprefix("Find ")


def origin(known: KnownDataset) -> str:
    """Where to get the dataset, with addresses as links."""
    page = re.sub(r"https?://[^\s)]+", r"<\g<0>>", known.page)
    missing = [f"`{name}`" for name, split in known.splits.items() if not split.required]
    without = f", without {', '.join(missing)}" if missing else ""
    return f"downloaded{without}: {page}" if known.url else page


def root(known: KnownDataset) -> str:
    """The folder of the dataset, below `ADNET_DATA` if that is set."""
    where = yaml.safe_load((CONF / f"{known.name}.yaml").read_text(encoding="utf-8"))["root"]
    return f"`{'data.root' if where == '???' else where.removeprefix('${oc.env:ADNET_DATA,data}/')}`"


def table(*columns: str) -> str:
    """A Markdown table of all data sets with these columns: `data=` and others of `CELLS`."""
    rows = [
        " | ".join([f"| `{name}`", *(CELLS[column](known) for column in columns)]) for name, known in DATASETS.items()
    ]
    head = ["| " + " | ".join(["`data=`", *columns]), "| --- " * (len(columns) + 1)]
    return "".join(f"{row} |\n" for row in [*head, *rows]).replace("---  |", "--- |")


CELLS = {
    "what": lambda known: paragraph(known, 0),
    "where": origin,
    "terms": lambda known: known.terms or "on its page" * bool(known.page),
    "scored frames": lambda known: known.scored.__name__.replace("_", " "),
    "root": root,
    "layout": lambda known: paragraph(known, 1),
}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (what MkDocs calls)
    """Put a table in place of each `<!-- table: COLUMN, ... -->`."""
    return re.sub(r"<!-- table: (.*) -->\n", lambda match: table(*match[1].split(", ")), markdown)
