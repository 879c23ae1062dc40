"""Reader of finished run folders: what `python -m adnet.train` and `python -m adnet.evaluate` leave on disk."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from adnet.errors import UserError

Values = npt.NDArray[np.float64]

MEASURES = ("J", "F")
STATISTICS = ("mean", "recall", "decay")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one run on one split under one protocol, and where its masks and frames lie.

    `scores[measure][statistic]` is `[n]` in the order of `sequences`, in [0, 1] (decay in [-1, 1], NaN where the score
    file says null). `root` is the dataset's folder, None if the evaluation did not note it.
    """

    folder: Path
    dataset: str
    split: str
    protocol: str
    sequences: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Values]]
    root: Path | None
    details: Mapping[str, Any] = field(repr=False)

    @property
    def weights(self) -> str:
        """Name of the checkpoint that was scored, without its ending; the end of a training scores the last one."""
        return Path(self.details.get("checkpoint") or "last").stem


@dataclass(frozen=True, eq=False)
class Run:
    """One finished training: its `summary.json`, its curves and its evaluations.

    `J` and `F` are in [0, 1]; `initial` holds those of the untrained network if they were measured. `history` maps a
    column of `metrics.csv` to its steps and values. `config` is the resolved config with dotted keys.
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


def find_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Read every run at or below `paths`: the folders with a `summary.json`, ordered by path, each once.

    Raises UserError if a path does not exist or holds no finished run, or if a file of a run can't be understood.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise UserError(f"runs={path}: there is no such folder; give a run folder or a folder of runs")
        found = sorted(file.parent for file in path.rglob("summary.json"))
        if not found:
            begun = sum(1 for _ in path.rglob("config.yaml"))
            hint = (
                f"{begun} folder(s) have a config.yaml but no summary.json: still training, or stopped early"
                if begun
                else "`python -m adnet.train` writes a summary.json into a run folder when it ends"
            )
            raise UserError(f"runs={path}: no finished run found ({hint})")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    return tuple(_read_run(folder) for folder in folders.values())


def _read_run(folder: Path) -> Run:
    file = folder / "summary.json"
    summary = _read_json(file)
    initial = summary.get("initial")
    return Run(
        folder=folder,
        variant=str(_entry(summary, file, "variant")),
        seed=summary.get("seed"),
        J=_number(summary.get("J"), file),
        F=_number(summary.get("F"), file),
        initial=None if initial is None else {m: _required_number(_entry(initial, file, m), file) for m in MEASURES},
        summary=summary,
        config=_read_config(folder / "config.yaml"),
        history=_read_history(folder / "metrics.csv"),
        evaluations=tuple(_read_evaluation(file.parent) for file in sorted(folder.glob("evaluation/*/scores.json"))),
    )


def _read_evaluation(folder: Path) -> Evaluation:
    file = folder / "scores.json"
    document = _read_json(file)
    per_sequence = _entry(document, file, "sequences")
    if not per_sequence:
        raise UserError(f"{file}: it scores no sequence; evaluate the run again")
    names = tuple(sorted(per_sequence))
    scores = {
        measure: {
            statistic: np.array(
                [_number(_entry(per_sequence, file, name, measure, statistic), file) for name in names], dtype=float
            )
            for statistic in STATISTICS
        }
        for measure in MEASURES
    }
    if not all(np.isfinite(scores[measure]["mean"]).all() for measure in MEASURES):
        raise UserError(f"{file}: the mean J or F of a sequence is no number; evaluate the run again")
    notes = folder / "evaluation.json"
    details = _read_json(notes) if notes.exists() else {}
    root = details.get("root")
    return Evaluation(
        folder=folder,
        dataset=str(_entry(document, file, "dataset")),
        split=str(_entry(document, file, "split")),
        protocol=str(_entry(document, file, "protocol")),
        sequences=names,
        scores=scores,
        root=None if root is None else Path(root),
        details=details,
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); write it again or remove the folder") from error
    if not isinstance(document, dict):
        raise UserError(f"{file}: expected a JSON object, got {type(document).__name__}; write it again")
    return document


def _entry(document: Any, file: Path, *keys: str) -> Any:
    for depth, key in enumerate(keys):
        if not isinstance(document, dict) or key not in document:
            raise UserError(f"{file}: the entry `{'.'.join(keys[: depth + 1])}` is missing; write the file again")
        document = document[key]
    return document


def _number(value: Any, file: Path) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{file}: expected a number, got {value!r}; write the file again")
    return float(value)


def _required_number(value: Any, file: Path) -> float:
    number = _number(value, file)
    if number is None:
        raise UserError(f"{file}: expected a number, got null; write the file again")
    return number


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
            for row in csv.DictReader(stream):
                for column, text in row.items():
                    if column not in ("epoch", "step") and text:
                        points.setdefault(column, []).append((float(row["step"]), float(text)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: expected numbers below a header with `step` ({error}); remove the file") from error
    history = {}
    for column, pairs in points.items():
        steps, values = np.array(sorted(pairs, key=lambda pair: pair[0])).T
        history[column] = (steps, values)
    return history
