"""A table of results, and its forms: text cells (for HTML), Markdown, CSV and LaTeX."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple, Self

from adnet.report.analysis.statistics import Interval
from adnet.shared.templates import TEMPLATES

Value = float | int | str | Interval | None

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"

# LaTeX is full of braces.
_LATEX = TEMPLATES.overlay(
    block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>"
)


@dataclass(frozen=True)
class Column:
    """How a column is printed: `digits` after the point (None: text), `signed` to show a plus, the `best` value in bold.

    A `probability` that would round to 0 is printed as `<0.001`.
    """

    title: str
    group: str = ""
    digits: int | None = None
    signed: bool = False
    best: Literal["max", "min"] | None = None
    probability: bool = False

    @property
    def flat_title(self) -> str:
        """The title with its group, for forms with a one-line header."""
        return f"{self.group} {self.title}".strip()


Row = dict[Column, Value]


class Cell(NamedTuple):
    """A value as it is printed."""

    text: str
    bold: bool


@dataclass(frozen=True)
class Table:
    """Columns and rows of values. `name` is the file name without its suffix, `caption` a sentence or two."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    @classmethod
    def of(cls, name: str, caption: str, rows: Sequence[Row]) -> Self:
        """Make a table of rows, at least one, that have the same columns."""
        return cls(name, caption, tuple(rows[0]), tuple(tuple(row.values()) for row in rows))

    def cells(self) -> list[list[Cell]]:
        """Print the values. The best of a column is bold, unless all are printed alike."""
        texts = [[_text(value, column) for value, column in zip(row, self.columns, strict=True)] for row in self.rows]
        best = [self._best_texts(index) for index in range(len(self.columns))]
        return [[Cell(text, text in best[index]) for index, text in enumerate(row)] for row in texts]

    def header(self) -> list[tuple[str, int]]:
        """Return the upper line of a two-line header: each group, and the number of columns that it spans."""
        return [(group, len(list(same))) for group, same in groupby(self.columns, key=lambda column: column.group)]

    def column_class(self, index: int) -> str:
        """Return the column's CSS classes: `number` (right-aligned), `interval` (lighter), `edge` (a gap before it)."""
        column = self.columns[index]
        before = self.columns[index - 1] if index else column
        kinds = {
            "number": column.digits is not None,
            "interval": any(isinstance(row[index], Interval) for row in self.rows),
            "edge": column.group != before.group or (column.digits is None and before.digits is not None),
        }
        return " ".join(kind for kind, holds in kinds.items() if holds)

    def _best_texts(self, index: int) -> set[str]:
        column = self.columns[index]
        values = [row[index] for row in self.rows]
        numbers = [value for value in values if isinstance(value, (int, float)) and math.isfinite(value)]
        if column.best is None or len({_text(number, column) for number in numbers}) < 2:
            return set()
        return {_text(max(numbers) if column.best == "max" else min(numbers), column)}


def to_markdown(table: Table) -> str:
    """Format as a pipe table, with numbers right-aligned and the caption above."""
    body = [
        [f"**{cell.text}**" if cell.bold else cell.text.replace("|", "\\|") for cell in row] for row in table.cells()
    ]
    titles = [column.flat_title for column in table.columns]
    widths = [max(3, *(len(line[index]) for line in [titles, *body])) for index in range(len(titles))]
    right = [column.digits is not None for column in table.columns]

    def line(cells: Iterable[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)]
    return "\n".join([table.caption, "", line(titles), line(rule), *map(line, body)]) + "\n"


def to_csv(table: Table) -> str:
    """Format as CSV with full-precision numbers. An interval takes two columns, `low` and `high`."""
    columns: list[list[Value]] = []
    for index, column in enumerate(table.columns):
        values = [row[index] for row in table.rows]
        if any(isinstance(value, Interval) for value in values):
            ends = ("low", "high")
            columns += [[f"{column.flat_title} {end}", *(getattr(one, end, None) for one in values)] for end in ends]
        else:
            columns.append([column.flat_title, *values])
    stream = io.StringIO()
    lines = (map(_csv_value, line) for line in zip(*columns, strict=True))
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()


def to_latex(table: Table) -> str:
    """Format as a `table` float with a booktabs `tabular`. Needs the packages booktabs and graphicx."""
    return _LATEX.get_template("report/table.tex.j2").render(table=table, tex=_tex, title=_tex_title) + "\n"


def _text(value: Value, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, str):
        return value
    if isinstance(value, Interval):
        if not math.isfinite(value.low):
            return DASH
        return f"[{_text(value.low, column)}, {_text(value.high, column)}]"
    smallest = 10.0 ** -(column.digits or 0)
    if column.probability and value < smallest:
        return f"<{smallest:.{column.digits}f}"
    text = f"{value:{'+' if column.signed else ''}.{column.digits or 0}f}"
    if float(text) == 0:  # a difference that rounds to 0 has no sign
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def _csv_value(value: Value) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(round(float(value), 6)) if isinstance(value, float) else str(value)


_TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {MINUS: "$-$", DASH: "--", "<": "$<$", ">": "$>$"}
    | {"\N{GREEK CAPITAL LETTER DELTA}": r"$\Delta$", "\N{GREEK SMALL LETTER BETA}": r"$\beta$"}
    | {"\N{SUPERSCRIPT TWO}": r"$^2$", "\N{MULTIPLICATION SIGN}": r"$\times$"}
)


def _tex_title(text: str) -> str:
    """Escape `text`, with J and F in the paper's calligraphic letters."""
    return re.sub(r"(?<![A-Za-z])([JF])(?![A-Za-z])", r"$\\mathcal{\1}$", _tex(text))


def _tex(text: str) -> str:
    return text.translate(_TEX)
