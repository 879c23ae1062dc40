"""Read evaluation folders: `scores.json` and the optional files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adnet.data.datasets import davis_attributes
from adnet.errors import UserError
from adnet.shared.file_formats import read_document

Values = npt.NDArray[np.float64]

MEASURES = ("J", "F")
STATISTICS = ("mean", "recall", "decay")

_NEEDED = (
    "dataset",
    "split",
    "protocol",
    "sequences",
    "sequences.*.[JF]",
    *(f"sequences.*.{name}" for name in STATISTICS),
)


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

    def united_with(self, other: Evaluation) -> Evaluation | None:
        """Add the saliency, drift and embeddings of `other` if it is the same evaluation done again; otherwise return None.

        Its scores may differ by a hundredth of a percentage point, by masks that differ in a few pixels near the threshold.
        """
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


def read_evaluation(file: Path) -> Evaluation:
    """Read the scores in `file` and the files beside it. Raises UserError for a malformed file."""
    folder = file.parent
    document = read_document(file, "scores", _NEEDED)
    per_sequence = document["sequences"]
    if not per_sequence:
        raise UserError(f"{file}: no sequence is scored; evaluate the run again")
    names = tuple(sorted(per_sequence))
    scores = {
        measure: {
            statistic: np.array([per_sequence[name][measure][statistic] for name in names], dtype=float)
            for statistic in STATISTICS
        }
        for measure in MEASURES
    }
    stems = {name: tuple(row["frames"]) for name, row in per_sequence.items() if "frames" in row}
    for name, row in per_sequence.items():
        if name in stems and len(stems[name]) != len(row["J"].get("frames", ())):
            raise UserError(
                f"{file}: {name} has {len(stems[name])} frames, but not as many values of J; evaluate the run again"
            )
    notes = folder / "evaluation.json"
    details = read_document(notes, "evaluation") if notes.exists() else {}
    root = Path(details["root"]) if "root" in details else None
    return Evaluation(
        folder=folder,
        dataset=document["dataset"],
        split=document["split"],
        protocol=document["protocol"],
        sequences=names,
        scores=scores,
        root=root,
        details=details,
        frames={name: np.array(row["J"]["frames"]) for name, row in per_sequence.items() if "frames" in row["J"]},
        stems=stems,
        attributes=_attributes(document, root, names),
        saliency=document.get("saliency", {}),
        drift=_drift(folder / "embeddings.json"),
        embeddings={path.stem: path for path in sorted(folder.glob("embeddings/*.npz"))},
    )


def _attributes(document: Mapping[str, Any], root: Path | None, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Read attributes from the score file, or else from the dataset if it still exists (DAVIS: `db_info.yml`)."""
    found: dict[str, list[str]] = {
        attribute: scores.get("sequences", []) for attribute, scores in document.get("attributes", {}).items()
    }
    if not found and root is not None:
        for name, attributes in davis_attributes(root).items():
            for attribute in attributes:
                found.setdefault(attribute, []).append(name)
    shared = {attribute: tuple(name for name in names if name in members) for attribute, members in found.items()}
    return {attribute: members for attribute, members in sorted(shared.items()) if members}


def _drift(file: Path) -> dict[str, Values]:
    if not file.exists():
        return {}
    curves = read_document(file, "embeddings", ("sequences", "*.distance"))["sequences"]
    return {name: np.array(curve["distance"], dtype=float) for name, curve in curves.items()}
