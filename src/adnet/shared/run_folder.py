"""Read what a training left in its run folder: its config, its curves and its summary."""

import csv
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adnet.errors import UserError
from adnet.shared.files import read_json


def finished_summary(folder: Path) -> dict[str, Any] | None:
    """Return the `summary.json` of a training that has finished in `folder`, or None. Raises UserError for unreadable files."""
    file = folder / "summary.json"
    if not file.is_file():
        return None
    summary = read_json(file)
    # Older versions also wrote a summary for a run that a limit of the trainer had stopped early.
    steps, wanted = summary.get("steps"), read_config(folder).get("steps")
    short = isinstance(steps, int) and isinstance(wanted, int) and steps < wanted
    return None if short else summary


def read_config(folder: Path) -> dict[str, Any]:
    """Read the `config.yaml` of a run; empty if there is none. Raises UserError if it is not a config."""
    file = folder / "config.yaml"
    if not file.is_file():
        return {}
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except (OSError, ValueError, AssertionError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({reason:.100}); restore it, or remove the run") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: this is not a config; restore it, or remove the run")
    return {str(key): value for key, value in content.items()}


def read_metrics(file: Path) -> list[dict[str, str]]:
    """Read the rows of a `metrics.csv`: numbers as written, by column; empty if there is no file.

    A truncated last line and empty cells are left out. Raises UserError for a file with other content.
    """
    if not file.is_file():
        return []
    try:
        text = file.read_text(encoding="utf-8")
        table = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        if "step" not in (table.fieldnames or ()):
            raise ValueError(f"there are {', '.join(table.fieldnames or ()) or 'no columns'}"[:60])
        rows = [{column: value for column, value in row.items() if value} for row in table]
        for row in rows:
            int(row["step"])
            list(map(float, row.values()))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        wanted = f"expected numbers below a header with `step` ({error})"
        raise UserError(f"{file}: {wanted}; restore it, or remove it") from error
    return rows
