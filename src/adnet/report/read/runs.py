"""Reader of finished run folders: what `python -m adnet.train` and `python -m adnet.evaluate` leave on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from adnet.errors import UserError
from adnet.report.read.evaluations import Evaluation, Values, read_evaluation
from adnet.shared.file_formats import read_document

# The order of the rows in the paper's Table 1; variants of other names follow by name.
VARIANTS = ("baseline", "intra", "anchor", "anchor_diffusion", "full")


@dataclass(frozen=True, eq=False)
class Run:
    """One finished training: its `summary.json`, its curves and its evaluations.

    `J` and `F` are in [0, 1]; `initial` holds those of the untrained network if they were measured. `history` maps a
    column of `metrics.csv` to its steps and values. `config` is the resolved config with dotted keys. `trained` is False for
    another method, of which there are scores alone.
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
    """Read every run at or below `paths`, ordered by path, each once: the folders with a `summary.json`.

    Scores of another method, which lie in no run folder, are a run without a training: a JSON file that is named itself,
    or a `scores.json` below a folder. Its variant is the name of its folder (of the file, where that is not `scores.json`).

    Raises UserError if a path does not exist or holds neither, or if a file of a run can't be understood.
    """
    folders: dict[Path, Path] = {}
    files: dict[Path, Path] = {}
    for path in paths:
        if path.is_file() and path.suffix == ".json":
            files.setdefault(path.resolve(), path)
            continue
        if not path.is_dir():
            raise UserError(f"runs={path}: there is no such folder; give a run folder or a folder of runs")
        found = sorted(file.parent for file in path.rglob("summary.json"))
        alone = [file for file in sorted(path.rglob("scores.json")) if not _in_run(file, path)]
        if not found and not alone:
            begun = sum(1 for _ in path.rglob("config.yaml"))
            hint = (
                f"{begun} folder(s) have a config.yaml but no summary.json: still training, or stopped early"
                if begun
                else "`python -m adnet.train` writes a summary.json into a run folder when it ends"
            )
            raise UserError(f"runs={path}: no finished run found ({hint})")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
        for file in alone:
            files.setdefault(file.resolve(), file)
    return (*(_read_run(folder) for folder in folders.values()), *(_read_method(file) for file in files))


def unfinished_runs(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Folders at or below `paths` whose training has begun and not ended: a `config.yaml` without a `summary.json`."""
    begun = {file.parent for path in paths if path.is_dir() for file in path.rglob("config.yaml")}
    return tuple(sorted(folder for folder in begun if not (folder / "summary.json").exists()))


def _in_run(file: Path, top: Path) -> bool:
    """Whether a folder above `file`, up to `top`, is that of a run, finished or not."""
    above = (folder for folder in file.parents if folder == top or top in folder.parents)
    return any((folder / name).is_file() for folder in above for name in ("summary.json", "config.yaml"))


def _read_method(file: Path) -> Run:
    name = file.parent.name if file.name == "scores.json" else file.stem
    evaluation = read_evaluation(file)
    return Run(
        folder=file.parent,
        # The names of our variants are those of trained networks.
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
        config=_read_config(folder / "config.yaml"),
        history=_read_history(folder / "metrics.csv"),
        evaluations=tuple(read_evaluation(file) for file in sorted(folder.glob("evaluation/*/scores.json"))),
    )


def _read_config(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: cannot be read as YAML ({reason}); remove it or write it again") from error
    return _flattened(document) if isinstance(document, dict) else {}


def _flattened(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_history(file: Path) -> dict[str, tuple[Values, Values]]:
    """Rows of Lightning's CSVLogger are sparse: each column keeps only the steps at which it was logged."""
    if not file.exists():
        return {}
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
