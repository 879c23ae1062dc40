"""Score a folder of predictions against a dataset, by its rule: DAVIS-2016 leaves out each sequence's first and last frame."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.videos import NEARLY_ALL, VideoDataset, composed, entry, evenly_spaced, lying_in, report_odd_masks
from adnet.errors import UserError
from adnet.metrics.frame_scores import FrameFiles, FrameScore, Kind, find_predictions, guess_kind, score_frames
from adnet.metrics.saliency import Saliency

Item = TypeVar("Item")
Result = TypeVar("Result")

Scores = dict[str, Any]

CHUNK = 16  # frames that a worker takes at a time: about 0.1 s
SAMPLE = 3  # frames of each sequence that kind="auto" looks at


def score_dataset(
    dataset: VideoDataset,
    predictions: Path,
    workers: int | None = None,
    protocol: str = "davis",
    kind: Literal["auto", "masks", "probabilities"] = "auto",
    probabilities: Path | None = None,
) -> Scores:
    """Score `predictions/<sequence>/<frame>.png` (or `.npy`) against a dataset.

    Args:
        dataset: its `scored` says which frames count. Only these are needed; other frames of the video are ignored.
        predictions: masks, in which any label but 0 is foreground, or probability maps (8 or 16 bits, or floats in [0, 1]),
            which are thresholded at 0.5 for J and F.
        workers: number of processes; None: one per core; 1: only this one.
        protocol: a label that says how the predictions were made: "davis" for another method's, "paper" or "published" for
            adnet's.
        kind: what `predictions` are; "auto" guesses by the rule of `adnet.metrics.frame_scores.guess_kind`.
        probabilities: a second folder with the probability maps that the masks in `predictions` were made from.

    Returns the content of `scores.json` (see its schema), sequences in the dataset's order. "mean" is the plain mean
    over sequences; "pixel" pools the masks' pixels of all frames, F_measure = 2PR / (P + R). "saliency" is there with probability
    maps ("F_max" of "pooled" is the F-measure on FBMS in the paper's Tables 2 and 3), "attributes" if the dataset has any.

    Raises UserError, before anything is computed, naming all missing sequences and all missing or extra frames, and if
    "auto" can't decide; and then for a file that can't be read, or differs in size from its annotation.

    Examples:
        >>> from adnet.data import synthetic
        >>> dataset = synthetic("videos", train=1, val=1, frames=4, size=(48, 80))
        >>> score_dataset(dataset, Path("videos/Annotations/480p"), workers=1)["mean"]["J"]["mean"]
        1.0
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; give 1 or more, or leave it out to use all cores")
    found = _files(dataset, predictions)
    maps = _files(dataset, probabilities) if probabilities else None
    report_odd_masks(dataset)
    frames = [
        FrameFiles(path, maps[s.name][stem] if maps else None, s.annotations[stem], s.regions)
        for s in dataset.sequences
        for stem, path in found[s.name].items()
    ]
    groups = [[*files.values()] for files in found.values()]
    sampled = (group[index] for group in groups for index in evenly_spaced(len(group), SAMPLE))
    chosen, reason = guess_kind(sampled) if kind == "auto" else (kind, "given")
    chunks = [frames[start : start + CHUNK] for start in range(0, len(frames), CHUNK)]
    scores: list[FrameScore] = []
    saliency = Saliency()
    for part, seen in map_in_workers(partial(score_frames, kind=chosen, sampled=kind == "auto"), chunks, workers):
        scores += part
        if seen:
            saliency.merge(seen)
    remaining = iter(scores)
    sequences: dict[str, Scores] = {}
    for name, files in found.items():
        own = [*islice(remaining, len(files))]
        rows = {"J": [score.J for score in own], "F": [score.F for score in own]}
        statistics = {measure: {**sequence_statistics(row), "frames": row} for measure, row in rows.items()}
        sequences[name] = {"frames": [*files], **statistics}
    *_, shared, predicted, annotated, pixels = map(sum, zip(*scores, strict=True))
    if odd := _oddity(shared, predicted, annotated, pixels, chosen):
        logging.getLogger(__name__).warning("%s: %s", predictions, odd)
    result: Scores = {
        "dataset": dataset.name,
        "split": dataset.split,
        "protocol": protocol,
        "kind": chosen,
        "kind_reason": reason,
        "mean": _mean(sequences.values()),
        "pixel": {
            "precision": shared / predicted if predicted else float(not annotated),
            "recall": shared / annotated if annotated else float(not predicted),
            "F_measure": 2 * shared / (predicted + annotated) if predicted + annotated else 1.0,
        },
    }
    if chosen == "probabilities" or probabilities:
        result["saliency"] = saliency.compute()
    for attribute in sorted({attribute for sequence in dataset.sequences for attribute in sequence.attributes}):
        having = [sequence.name for sequence in dataset.sequences if attribute in sequence.attributes]
        means = {measure: values["mean"] for measure, values in _mean(sequences[name] for name in having).items()}
        result.setdefault("attributes", {})[attribute] = means | {"sequences": having}
    return result | {"sequences": sequences}


def map_in_workers(function: Callable[[Item], Result], items: list[Item], workers: int | None) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed by `workers` processes (None: one per core; 1: only this one).

    Workers import only the module of `function`, not the calling script.
    """
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    # Spawn, don't fork: a fork can hang after torch or CUDA have started threads.
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (0,)) as pool:
        # Workers would import the running script: an entry point with all of torch, or one that would run again in each.
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            results = pool.map(function, items)
        finally:
            sys.modules["__main__"] = main
        yield from results


def _mean(sequences: Iterable[Scores]) -> Scores:
    rows = list(sequences)
    return {
        measure: {key: float(np.mean([row[measure][key] for row in rows])) for key in ("mean", "recall", "decay")}
        for measure in ("J", "F")
    }


def _oddity(shared: int, predicted: int, annotated: int, pixels: int, kind: Kind) -> str:
    """Say what is odd about the predictions, by the foreground pixels of all; "" if nothing is."""
    if annotated and not predicted:
        certainty = ": is 255 (8 bits), 65535 (16 bits) or 1.0 their certainty?" if kind == "probabilities" else ""
        return f"nothing is foreground in any prediction{certainty}"
    if predicted >= NEARLY_ALL * pixels:
        return "nearly all pixels of all predictions are foreground"
    inverted = (annotated - shared) / (pixels - predicted + shared)
    if shared / max(1, predicted + annotated - shared) < 0.5 < inverted:
        return f"inverted, they would have a J of {100 * inverted:.0f} over all pixels: is the object black in them, or in the annotations?"
    return ""


def _files(dataset: VideoDataset, folder: Path) -> dict[str, dict[str, Path]]:
    """Find the predictions of the frames that count, by sequence and stem, in `folder` or in its `masks` (of `adnet.evaluate`).

    Raises UserError, naming all that is missing or extra.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one that holds <sequence>/<frame>.png or .npy")

    def holds_some(place: Path) -> bool:
        return any(entry(place, sequence.name).is_dir() for sequence in dataset.sequences)

    if not holds_some(folder) and holds_some(folder / "masks"):
        folder /= "masks"
    problems: list[str] = []
    files: dict[str, dict[str, Path]] = {}
    for sequence in dataset.sequences:
        name, wanted, place = sequence.name, dataset.scored(sequence), entry(folder, sequence.name)
        found = find_predictions(place)
        if not wanted:
            problems.append(f"{name} has no annotated frame that counts")
        elif not found:
            problems.append(f"sequence {name} is missing{lying_in(place)}")
        elif missing := [stem for stem in wanted if composed(stem) not in found]:
            problems.append(f"{name} lacks {', '.join(missing)}")
        files[name] = {stem: found[composed(stem)] for stem in wanted if composed(stem) in found}
        if extra := sorted(found.keys() - {composed(frame.stem) for frame in sequence.frames}):
            problems.append(f"{name} has no frame {', '.join(extra)}")
    if problems:
        said = "; ".join(problems) + lying_in(folder, masks=False) * (not holds_some(folder))
        advice = "Give one <sequence>/<frame>.png or .npy for each frame of the dataset"
        raise UserError(f"{folder} does not fit {dataset.name} {dataset.split}: {said}. {advice}")
    return files


def sequence_statistics(values: npt.ArrayLike) -> dict[str, float]:
    """Compute `mean`, `recall` and `decay` of the scores `[N]` of one sequence's frames in time order.

    Recall is the share of scores above 0.5; decay, in [-1, 1], is the mean of the first quarter minus that of the last;
    adjacent quarters share a frame. Raises ValueError if there are no values. Source: Perazzi et al., CVPR 2016, with the bin edges of the
    published evaluation (except that its edges are 8-bit integers and wrap past 256 frames).
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected at least one score in a vector [N], got shape {values.shape}")
    # Halves round up, as published; numpy by itself rounds them to even.
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] :]
    return {
        "mean": float(values.mean()),
        "recall": float((values > 0.5).mean()),
        "decay": float(first.mean() - last.mean()),
    }
