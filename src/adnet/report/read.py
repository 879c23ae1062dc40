"""Read runs and evaluations from disk, as `adnet.train`, `adnet.evaluate` and `adnet.score` write them, and the paper's numbers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import yaml

from adnet.errors import UserError
from adnet.shared.check_config import flattened
from adnet.shared.file_formats import read_document
from adnet.shared.run_folder import finished_summary, read_config, read_metrics

Values = npt.NDArray[np.float64]

MEASURES = ("J", "F")
STATISTICS = ("mean", "recall", "decay")

VARIANTS = ("baseline", "intra", "anchor", "anchor_diffusion", "full")
"""In the order of the paper's Table 1. Other variants follow in alphabetical order."""

_NEEDED = ["dataset", "split", "protocol", "sequences", "sequences.*.[JF]"]
_NEEDED += [f"sequences.*.{name}" for name in STATISTICS]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of one run on one split under one protocol, and the location of its masks and frames.

    `scores[measure][statistic]` is `[n]` in the order of `sequences`, in [0, 1] (decay in [-1, 1], NaN for null in the
    file). `root` is the folder of the dataset, or None if it was not recorded. The following are empty if unknown:

    - `frames[sequence]`: J of each scored frame, in time order; `stems[sequence]`: the names of those frames;
    - `attributes[attribute]`: the sequences that have it;
    - `saliency[convention]`: "MAE", "F_max" and the lists "precision" and "recall", for "pooled" and "per_frame";
    - `drift[sequence]`: cosine distance to the first frame's foreground, one value per annotated frame (Figure 3);
    - `embeddings[sequence]`: file with the embeddings of a few frames (Figure 1).
    """

    folder: Path
    dataset: str
    split: str
    protocol: str
    sequences: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Values]]
    root: Path | None
    details: Mapping[str, Any] = field(repr=False, default_factory=dict)
    frames: Mapping[str, Values] = field(repr=False, default_factory=dict)
    stems: Mapping[str, tuple[str, ...]] = field(repr=False, default_factory=dict)
    attributes: Mapping[str, tuple[str, ...]] = field(repr=False, default_factory=dict)
    saliency: Mapping[str, Mapping[str, Any]] = field(repr=False, default_factory=dict)
    drift: Mapping[str, Values] = field(repr=False, default_factory=dict)
    embeddings: Mapping[str, Path] = field(repr=False, default_factory=dict)

    def united_with(self, other: Self) -> Self | None:
        """Add the saliency, drift and embeddings of `other` if its scores are within 0.01 points; else return None."""
        pairs = [(self.scores[m][s], other.scores[m][s]) for m in MEASURES for s in STATISTICS]
        if not all(np.allclose(own, others, rtol=0, atol=1e-4, equal_nan=True) for own, others in pairs):
            return None
        optional = ("saliency", "drift", "embeddings")
        return replace(self, **{name: getattr(self, name) or getattr(other, name) for name in optional})

    @property
    def weights(self) -> str:
        """Name of the scored checkpoint without its suffix. A training scores its last one, without recording a name."""
        return Path(self.details.get("checkpoint") or "last").stem

    @property
    def size(self) -> str | None:
        """Test size as `HEIGHTxWIDTH` in pixels at scale 1, or None if it was not recorded."""
        size = self.details.get("size")
        return "x".join(map(str, size)) if size else None

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the postprocess, and of the backend if it is not PyTorch, that contributed to these masks."""
        postprocess, backend = self.details.get("postprocess"), self.details.get("backend")
        names = [str(postprocess.get("_target_")).rpartition(".")[2]] if isinstance(postprocess, dict) else []
        return (*names, *([str(backend)] if backend not in (None, "torch") else ()))


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training: its `summary.json`, its curves and its evaluations; `trained` is False for another method.

    `J` and `F` are in [0, 1], `initial` those of the untrained network. `history` has the steps and values of each
    column of `metrics.csv`, `config` dotted keys.
    """

    folder: Path
    variant: str
    J: float | None
    F: float | None
    config: Mapping[str, Any] = field(repr=False)
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    seed: int | None = None
    initial: Mapping[str, float] | None = None
    summary: Mapping[str, Any] = field(repr=False, default_factory=dict)
    history: Mapping[str, tuple[Values, Values]] = field(repr=False, default_factory=dict)
    trained: bool = True


def find_runs(paths: Iterable[Path]) -> tuple[Run, ...]:
    """Read every finished run (a folder with a `summary.json` of all its steps) at or below `paths`, once and in order.

    Scores of another method, a JSON file in `paths` or a `scores.json` outside of run folders, become a run with
    `trained=False`, called like the file or its folder. Raises UserError for a path without any, and a malformed file.
    """
    folders: list[Path] = []
    score_files: list[Path] = []
    for path in paths:
        if path.is_file() and path.suffix == ".json":
            score_files.append(path)
            continue
        if not path.is_dir():
            raise UserError(f"runs={path}: there is no such folder; give a run folder or a folder of runs")
        found = [folder for folder in _with(path, "summary.json") if finished_summary(folder) is not None]
        alone = [file for file in sorted(path.rglob("scores.json")) if not _in_run(file, path)]
        if not found and not alone:
            hint = "`python -m adnet.train` writes a summary.json into a run folder when it ends"
            if begun := len(_with(path, "config.yaml")):
                hint = f"{begun} folder(s) have a config.yaml but no summary.json of all their steps: still training, or stopped early"
            raise UserError(f"runs={path}: no finished run found ({hint})")
        folders += found
        score_files += alone
    return (*map(_read_run, _each_once(folders)), *map(_read_method, _each_once(score_files)))


def unfinished_runs(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Find run folders (with a `config.yaml`) at or below `paths` whose training has not finished."""
    begun = {folder for path in paths if path.is_dir() for folder in _with(path, "config.yaml")}
    return tuple(sorted(folder for folder in begun if finished_summary(folder) is None))


@cache
def paper_tables() -> Mapping[str, Any]:
    """Read Tables 1 to 3 of the paper from `published_numbers.yaml` in this folder.

    `table1`, `table2` and `table3` each have `source`, `caption`, `measured_on` and `rows`. J, F and F-measure are in percent, MAE
    is in [0, 1]; a value that the paper does not give is None.
    """
    return yaml.safe_load(files("adnet.report").joinpath("published_numbers.yaml").read_text(encoding="utf-8"))


def _with(top: Path, name: str) -> list[Path]:
    return sorted(file.parent for file in top.rglob(name))


def _in_run(file: Path, top: Path) -> bool:
    above = (folder for folder in file.parents if folder == top or top in folder.parents)
    return any((folder / name).is_file() for folder in above for name in ("summary.json", "config.yaml"))


def _each_once(paths: Iterable[Path]) -> Iterable[Path]:
    return {path.resolve(): path for path in paths}.values()


def _read_method(file: Path) -> Run:
    name = file.parent.name if file.name == "scores.json" else file.stem
    evaluation = _read_evaluation(file)
    J, F = (float(evaluation.scores[measure]["mean"].mean()) for measure in MEASURES)
    variant = f"{name} (scored)" if name in VARIANTS else name  # the paper's variants are networks trained here
    return Run(file.parent, variant, J, F, {"scores": file.as_posix()}, (evaluation,), trained=False)


def _read_run(folder: Path) -> Run:
    summary = read_document(folder / "summary.json", "summary", ("variant", "initial.*"))
    return Run(
        folder=folder,
        variant=summary["variant"],
        J=summary.get("J"),
        F=summary.get("F"),
        config=flattened(read_config(folder)),
        evaluations=tuple(_read_evaluation(file) for file in sorted(folder.glob("evaluation/*/scores.json"))),
        seed=summary.get("seed"),
        initial=summary.get("initial"),
        summary=summary,
        history=_read_history(folder / "metrics.csv"),
    )


def _read_history(file: Path) -> dict[str, tuple[Values, Values]]:
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in read_metrics(file):
        for column, value in row.items():
            if column not in ("epoch", "step"):
                points[column].append((float(row["step"]), float(value)))
    sorted_points = ((column, np.array(sorted(pairs, key=itemgetter(0))).T) for column, pairs in points.items())
    return {column: (steps, values) for column, (steps, values) in sorted_points}


def _read_evaluation(file: Path) -> Evaluation:
    folder = file.parent
    document = read_document(file, "scores", _NEEDED)
    rows = document["sequences"]
    if not rows:
        raise UserError(f"{file}: no sequence is scored; evaluate the run again")
    names = tuple(sorted(rows))
    scores = {
        measure: {key: np.array([rows[name][measure][key] for name in names], float) for key in STATISTICS}
        for measure in MEASURES
    }
    stems = {name: tuple(row["frames"]) for name, row in rows.items() if "frames" in row}
    frames = {name: np.array(row["J"]["frames"]) for name, row in rows.items() if "frames" in row["J"]}
    for name in stems:
        if len(stems[name]) != len(frames.get(name, ())):
            count = len(stems[name])
            raise UserError(f"{file}: {name} has {count} frames, but not as many values of J; evaluate the run again")
    having = {attribute: row.get("sequences", ()) for attribute, row in document.get("attributes", {}).items()}
    members = {attribute: tuple(name for name in names if name in having[attribute]) for attribute in sorted(having)}
    curves = {}
    if (curves_file := folder / "embeddings.json").exists():
        curves = read_document(curves_file, "embeddings", ("sequences", "*.distance"))["sequences"]
    details = read_document(notes, "evaluation") if (notes := folder / "evaluation.json").exists() else {}
    return Evaluation(
        folder=folder,
        dataset=document["dataset"],
        split=document["split"],
        protocol=document["protocol"],
        sequences=names,
        scores=scores,
        root=Path(details["root"]) if "root" in details else None,
        details=details,
        frames=frames,
        stems=stems,
        attributes={attribute: found for attribute, found in members.items() if found},
        saliency=document.get("saliency", {}),
        drift={name: np.array(curve["distance"], dtype=float) for name, curve in curves.items()},
        embeddings={path.stem: path for path in sorted(folder.glob("embeddings/*.npz"))},
    )
