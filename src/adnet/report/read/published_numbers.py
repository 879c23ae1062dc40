"""Read the numbers of the paper from `published_numbers.yaml`, in this folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def paper_tables() -> Mapping[str, Any]:
    """Return Tables 1 to 3 of the paper (`table1`, `table2`, `table3`, each with `source`, `caption`, `measured_on`, `rows`).

    J, F and F-measure are in percent, MAE is in [0, 1]; a value that the paper does not give is None.
    """
    document: Mapping[str, Any] = yaml.safe_load(
        files("adnet.report.read").joinpath("published_numbers.yaml").read_text(encoding="utf-8")
    )
    return document
