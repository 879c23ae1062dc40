"""Read what a training left in its run folder, its config and its summary."""

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
    # Older versions wrote a summary for a run that a limit of the trainer had cut short, too.
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
