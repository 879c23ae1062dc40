"""Captions of the report's tables and figures."""

from typing import Any

from adnet.shared.templates import TEMPLATES


def caption(name: str, *values: Any) -> str:
    """Write the caption `name` in one line, from the `values` that its macro in `captions.j2` takes."""
    macro = getattr(TEMPLATES.get_template("report/captions.j2").module, name)
    return " ".join(macro(*values).split())
