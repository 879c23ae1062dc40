"""Scores of a folder of predicted masks against a dataset, by the rules of its benchmark.

    scores = score_dataset(dataset, Path("masks"))     # masks/<sequence>/<frame>.png
    scores["mean"]["J"]["mean"]

DAVIS-2016 leaves out each sequence's first and last frame; FBMS and ViSal take every annotated frame. Which rule holds
is the dataset's own `scored`.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.sequence import Sequence, VideoDataset, read_mask
from adnet.errors import UserError
from adnet.metrics.contour import contour_accuracy
from adnet.metrics.region import region_similarity

Scores = dict[str, Any]

CHUNK = 16  # frames that a worker takes at a time: about 0.1 s


@dataclass(frozen=True)
class Statistics:
    """What a sequence's scores come to; `mean` and `recall` in [0, 1], `decay` in [-1, 1] (negative: they rise)."""

    mean: float
    recall: float
    decay: float


def sequence_statistics(values: npt.ArrayLike) -> Statistics:
    """Mean, recall and decay of the scores `[N]` of one sequence's frames in time order.

    Recall is the share above 0.5 (strictly), decay the mean of the first quarter minus that of the last; quarters share
    the frame between them. Raises ValueError if there are no values. Source: Perazzi et al., CVPR 2016, bin edges as in
    the published evaluation (but for its 8-bit edges, which wrap past 256 frames).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected at least one score in a vector [N], got shape {values.shape}")
    # Halves round up, as published; numpy alone rounds them to even.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] :]
    return Statistics(
        mean=float(values.mean()), recall=float((values > 0.5).mean()), decay=float(first.mean() - last.mean())
    )


def scored_frames(sequence: Sequence, scored: Literal["inner", "all"]) -> list[str]:
    """Stems of the annotated frames that count, in time order."""
    frames = sequence.frames[1:-1] if scored == "inner" else sequence.frames
    return [frame.stem for frame in frames if frame.stem in sequence.annotations]


def score_sequence(sequence: Sequence, predictions: Path, scored: Literal["inner", "all"] = "inner") -> Scores:
    """Score `predictions/<sequence>/<frame>.png` in this process.

    Returns `{"J": {"mean", "recall", "decay", "frames": [...]}, "F": {...}}`, per-frame values in time order. Raises
    UserError if no frame counts, a mask can't be read, or its size differs from its annotation's.
    """
    pairs = _pairs(sequence, predictions, scored)
    if not pairs:
        raise UserError(f"sequence {sequence.name} has no annotated frame that counts; leave it out of the split")
    return _summary(map(_score_frame, pairs))


def score_dataset(
    dataset: VideoDataset, predictions: Path, workers: int | None = None, protocol: str = "davis"
) -> Scores:
    """Score `predictions/<sequence>/<frame>.png` against a dataset.

    Any label but 0 is foreground. Only frames that count are needed; masks of other frames of the video may be there.
    `workers` processes share the work (all cores by default; 1 stays in this process). They are spawned, so a script
    that calls this needs `if __name__ == "__main__":`. `protocol` is a label for the result, which names how the masks
    were made: "davis" for another method's, "paper" or "published" for ours.

    Returns `{"dataset", "split", "protocol", "mean": {"J": {"mean", "recall", "decay"}, "F": ...}, "sequences": {name:
    score_sequence(...)}}`, sequences in the dataset's order, "mean" the plain mean over sequences.

    Raises UserError, before any mask is read, with the names of all missing sequences and missing or extra frames; and
    as `score_sequence` does.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; give 1 or more, or leave it out to use all cores")
    _check(dataset, predictions)
    pairs = {sequence.name: _pairs(sequence, predictions, dataset.scored) for sequence in dataset.sequences}
    flat = [pair for group in pairs.values() for pair in group]
    if workers == 1:
        scores = list(map(_score_frame, flat))
    else:
        # Spawned, not forked: a fork after torch or CUDA have started threads can hang.
        with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (0,)) as pool:
            scores = list(pool.map(_score_frame, flat, chunksize=CHUNK))
    remaining = iter(scores)
    sequences = {name: _summary(islice(remaining, len(group))) for name, group in pairs.items()}
    mean = {
        measure: {
            statistic: float(np.mean([sequence[measure][statistic] for sequence in sequences.values()]))
            for statistic in ("mean", "recall", "decay")
        }
        for measure in ("J", "F")
    }
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "protocol": protocol,
        "mean": mean,
        "sequences": sequences,
    }


def _pairs(sequence: Sequence, predictions: Path, scored: Literal["inner", "all"]) -> list[tuple[Path, Path]]:
    folder = predictions / sequence.name
    return [(folder / f"{stem}.png", sequence.annotations[stem]) for stem in scored_frames(sequence, scored)]


def _score_frame(pair: tuple[Path, Path]) -> tuple[float, float]:
    prediction, annotation = pair
    mask, truth = read_mask(prediction), read_mask(annotation)
    if mask.shape != truth.shape:
        raise UserError(
            f"{prediction} is {_size(mask)} but its annotation {annotation} is {_size(truth)} (height x width); "
            "write masks at the annotation's size"
        )
    return region_similarity(mask, truth), contour_accuracy(mask, truth)


def _size(mask: npt.NDArray[np.bool_]) -> str:
    return "x".join(map(str, mask.shape))


def _summary(scores: Iterable[tuple[float, float]]) -> Scores:
    return {
        measure: {**asdict(sequence_statistics(values)), "frames": list(values)}
        for measure, values in zip("JF", zip(*scores, strict=True), strict=True)
    }


def _check(dataset: VideoDataset, predictions: Path) -> None:
    if not predictions.is_dir():
        raise UserError(f"{predictions} is not a folder; give one that holds <sequence>/<frame>.png")
    if not dataset.sequences:
        raise UserError(f"{dataset.name} {dataset.split} has no sequences; check the dataset in {dataset.root}")
    problems = []
    for sequence in dataset.sequences:
        wanted = scored_frames(sequence, dataset.scored)
        found = {path.stem for path in (predictions / sequence.name).glob("*.png")}
        missing = [stem for stem in wanted if stem not in found]
        extra = sorted(found - {frame.stem for frame in sequence.frames})
        if not wanted:
            problems.append(f"{sequence.name} has no annotated frame that counts")
        elif not found:
            problems.append(f"sequence {sequence.name} is missing")
        elif missing:
            problems.append(f"{sequence.name} lacks {', '.join(missing)}")
        if extra:
            problems.append(f"{sequence.name} has no frame {', '.join(extra)}")
    if problems:
        raise UserError(
            f"{predictions} does not fit {dataset.name} {dataset.split}: {'; '.join(problems)}. "
            "Give one <sequence>/<frame>.png for each frame of the dataset"
        )
