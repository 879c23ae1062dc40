"""Colours and type that all figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.colors import to_rgb

# Okabe & Ito, "Color Universal Design", 2008: told apart with any colour vision, and by lightness when printed grey.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"

_OF_VARIANT = {"baseline": BLACK, "intra": ORANGE, "anchor": SKY, "anchor_diffusion": GREEN, "full": VERMILION}
_SPARE = (BLUE, PURPLE, YELLOW)

RC: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same figure on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "adnet",  # the same figure is the same file
}


def lightened(colour: str, amount: float) -> tuple[float, float, float]:
    """`colour` mixed with white: 0 leaves it, 1 is white. RGB in [0, 1]."""
    red, green, blue = ((1 - amount) * channel + amount for channel in to_rgb(colour))
    return red, green, blue


def colours(labels: Sequence[str]) -> dict[str, str]:
    """One colour per label: the paper's variants always have their own, others take what is left, in turn."""
    spare = [*_SPARE, *(colour for variant, colour in _OF_VARIANT.items() if variant not in labels)]
    others = [label for label in labels if label not in _OF_VARIANT]
    return {label: _OF_VARIANT.get(label) or spare[others.index(label) % len(spare)] for label in labels}
