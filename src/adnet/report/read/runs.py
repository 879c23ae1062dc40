"""Read finished run folders, as `python -m adnet.train` and `python -m adnet.evaluate` write them, and the paper's numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from adnet.errors import UserError
from adnet.report.read.evaluations import Evaluation, Values, read_evaluation
from adnet.shared.file_formats import read_document
from adnet.shared.run_folder import finished_summary, read_config

# The order of rows in the paper's Table 1. Other variants follow in alphabetical order.
VARIANTS = ("baseline", "intra", "anchor", "anchor_diffusion", "full")


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training: its `summary.json`, its curves and its evaluations.

    `J` and `F` are in [0, 1]; `initial` holds the scores of the untrained network, if they were measured. `history` maps
    each column of `metrics.csv` to its steps and values. `config` is the resolved config with dotted keys. `trained` is
    False for another method, of which only scores are known.
    """

    folder: Path
    variant: str
    seed: int | None
    J: float | None
    F: float | None
    initial: Mapping[str, float] | None
    summary: Mapping[str, Any] = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    history: Mapping[str, tuple[Values, Values]] = field(repr=False)
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    trained: bool = True


def find_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Read every finished run (a folder with a `summary.json` of all its steps) at or below `paths`, each once, ordered by path.

    Scores of another method become a run with `trained=False`: a JSON file given in `paths`, or a `scores.json` outside
    of run folders. Its variant is the name of the JSON file, or of the folder if the file is called `scores.json`.

    Raises UserError if a path does not exist or holds neither runs nor scores, or if a file of a run is malformed.
    """
    folders: dict[Path, Path] = {}
    score_files: dict[Path, Path] = {}
    for path in paths:
        if path.is_file() and path.suffix == ".json":
            score_files.setdefault(path.resolve(), path)
            continue
        if not path.is_dir():
            raise UserError(f"runs={path}: there is no such folder; give a run folder or a folder of runs")
        found = [folder for folder in _with(path, "summary.json") if finished_summary(folder) is not None]
        alone = [file for file in sorted(path.rglob("scores.json")) if not _in_run(file, path)]
        if not found and not alone:
            begun = len(_with(path, "config.yaml"))
            hint = (
                f"{begun} folder(s) have a config.yaml but no summary.json of all their steps: still training, or stopped early"
                if begun
                else "`python -m adnet.train` writes a summary.json into a run folder when it ends"
            )
            raise UserError(f"runs={path}: no finished run found ({hint})")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
        for file in alone:
            score_files.setdefault(file.resolve(), file)
    return (*(_read_run(folder) for folder in folders.values()), *(_read_method(file) for file in score_files))


def unfinished_runs(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Find run folders (with a `config.yaml`) at or below `paths` whose training has not finished."""
    begun = {folder for path in paths if path.is_dir() for folder in _with(path, "config.yaml")}
    return tuple(sorted(folder for folder in begun if finished_summary(folder) is None))


def _with(top: Path, name: str) -> list[Path]:
    return sorted(file.parent for file in top.rglob(name))


def _in_run(file: Path, top: Path) -> bool:
    """Return whether `file` is in a run folder (finished or not) at or below `top`."""
    above = (folder for folder in file.parents if folder == top or top in folder.parents)
    return any((folder / name).is_file() for folder in above for name in ("summary.json", "config.yaml"))


def _read_method(file: Path) -> Run:
    name = file.parent.name if file.name == "scores.json" else file.stem
    evaluation = read_evaluation(file)
    return Run(
        folder=file.parent,
        # Names of the paper's variants are reserved for networks trained here.
        variant=f"{name} (scored)" if name in VARIANTS else name,
        seed=None,
        J=float(evaluation.scores["J"]["mean"].mean()),
        F=float(evaluation.scores["F"]["mean"].mean()),
        initial=None,
        summary={},
        config={"scores": file.as_posix()},
        history={},
        evaluations=(evaluation,),
        trained=False,
    )


def _read_run(folder: Path) -> Run:
    summary = read_document(folder / "summary.json", "summary", ("variant", "initial.*"))
    return Run(
        folder=folder,
        variant=summary["variant"],
        seed=summary.get("seed"),
        J=summary.get("J"),
        F=summary.get("F"),
        initial=summary.get("initial"),
        summary=summary,
        config=_flattened(read_config(folder)),
        history=_read_history(folder / "metrics.csv"),
        evaluations=tuple(read_evaluation(file) for file in sorted(folder.glob("evaluation/*/scores.json"))),
    )


def _flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_history(file: Path) -> dict[str, tuple[Values, Values]]:
    if not file.exists():
        return {}
    # Rows of `metrics.csv` are sparse. Each column keeps only the steps at which it was logged.
    points: dict[str, list[tuple[float, float]]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            if "step" not in (table.fieldnames or ()):
                raise ValueError(f"there are {', '.join(table.fieldnames or ()) or 'no columns'}"[:60])
            for row in table:
                for column, text in row.items():
                    if column not in ("epoch", "step") and text:
                        points.setdefault(column, []).append((float(row["step"]), float(text)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{file}: expected numbers below a header with `step` ({error}); remove the file") from error
    history = {}
    for column, pairs in points.items():
        steps, values = np.array(sorted(pairs, key=lambda pair: pair[0])).T
        history[column] = (steps, values)
    return history


@cache
def paper_tables() -> Mapping[str, Any]:
    """Read Tables 1 to 3 of the paper from `published_numbers.yaml` in this folder.

    `table1`, `table2` and `table3` each have `source`, `caption`, `measured_on` and `rows`. J, F and F-measure are in percent, MAE
    is in [0, 1]; a value that the paper does not give is None.
    """
    document: Mapping[str, Any] = yaml.safe_load(
        files("adnet.report.read").joinpath("published_numbers.yaml").read_text(encoding="utf-8")
    )
    return document
