"""The report's texts, which are Jinja templates beside this file: its page, its captions, and a table in LaTeX."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

TEMPLATES = Environment(
    loader=PackageLoader("adnet.report", "."),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# LaTeX is full of braces.
LATEX = TEMPLATES.overlay(
    block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>"
)


def caption(name: str, *values: Any) -> str:
    """Write the caption `name` in one line, from the `values` that its macro in `captions.j2` takes."""
    macro = getattr(TEMPLATES.get_template("captions.j2").module, name)
    return " ".join(macro(*values).split())
