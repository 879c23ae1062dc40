"""A plot with its numbers, the colours and type that all plots share, and how pictures and numbers are encoded for the page."""

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

# Okabe & Ito, "Color Universal Design", 2008: distinguishable with any colour vision, and by lightness in greyscale.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

_OF_VARIANT = {"baseline": BLACK, "intra": ORANGE, "anchor": SKY, "anchor_diffusion": GREEN, "full": VERMILION}
_SPARE = (BLUE, PURPLE, YELLOW)

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("plot.mplstyle"), use_default_template=False)

styled = matplotlib.rc_context(STYLE)
"""Decorate what draws or saves a figure."""


Rows = list[tuple[str | float, ...]]


@dataclass(frozen=True)
class Plot:
    """A figure with its caption, and its numbers as the rows of a CSV file."""

    name: str
    caption: str
    figure: Figure
    header: tuple[str, ...]
    rows: Rows

    @styled
    def save(self, folder: Path) -> str:
        """Write NAME.png and NAME.csv into `folder`; return the figure as SVG text."""
        folder.mkdir(parents=True, exist_ok=True)
        self.figure.savefig(folder / f"{self.name}.png", dpi=160, metadata={"Software": None})
        self.figure.set_layout_engine("none")  # it is laid out by now, and doing so again is slow
        svg = io.StringIO()
        self.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        write_csv(folder / f"{self.name}.csv", self.header, self.rows)
        return svg.getvalue()


def colours(variants: Mapping[str, str]) -> dict[str, str]:
    """Choose a colour for each label of `variants` (label to variant): that of the paper's variant for its first label."""
    palette: dict[str, str] = {}
    for label, variant in variants.items():
        if variant in _OF_VARIANT and _OF_VARIANT[variant] not in palette.values():
            palette[label] = _OF_VARIANT[variant]
    spare = [*_SPARE, *(colour for colour in _OF_VARIANT.values() if colour not in palette.values())]
    others = [label for label in variants if label not in palette]
    return palette | {label: spare[index % len(spare)] for index, label in enumerate(others)}


def line_style(palette: Mapping[str, str], label: str) -> dict[str, Any]:
    """Return arguments of `plot` for a label's line: its colour and, because colour alone may not be seen, its marker."""
    marker = "osD^vPX*"[list(palette).index(label) % 8]
    return {"color": palette[label], "marker": marker, "markersize": 4.5}


def rounded(*values: float) -> tuple[float | str, ...]:
    """Round numbers to four digits for a CSV file; "" for NaN."""
    return tuple("" if np.isnan(value) else round(float(value), 4) for value in values)


def jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode an RGB picture `[H, W, 3]` as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="JPEG", quality=82, optimize=True)
    return stream.getvalue()


def base64_text(content: bytes) -> str:
    """Encode `content` in base64."""
    return base64.b64encode(content).decode()


def data_uri(kind: str, content: bytes) -> str:
    """Encode `content`, of media type `kind`, as a data URI, which a page can contain."""
    return f"data:{kind};base64,{base64_text(content)}"


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with a header."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def slug(text: str) -> str:
    """Turn `text` into a file name. A long one is cut off and ends in a hash: file systems allow 255 characters."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text)
    return name if len(name) <= 200 else f"{name[:192]}-{hashlib.sha256(text.encode()).hexdigest()[:7]}"
