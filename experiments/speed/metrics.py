"""Measure the frames per second of J and F, compared with the published evaluation, which gives equal scores.

python experiments/speed/metrics.py data/DAVIS experiments/speed/metrics.json
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data import davis2016
from adnet.data.masks import Mask, read_mask, write_mask
from adnet.data.videos import VideoDataset, annotated_frames
from adnet.metrics import contour_accuracy, region_similarity, score_dataset
from adnet.shared.files import write_json

Score = tuple[float, float]


def measure(dataset: VideoDataset, frames: int = 200, rounds: int = 3) -> dict[str, Any]:
    """Measure on `frames` frames, evenly spaced among those that are scored; the masks are the annotations, shifted and eroded.

    Both implementations take turns, `rounds` times, on one core with masks in memory; the best round counts. `score_dataset` is
    timed from files, including the start of its workers and decoding.

    Returns the frames per second of each, their ratio, and the largest difference of a score. Raises RuntimeError if the scores
    differ.
    """
    dataset = _subset(dataset, frames)
    annotations = [
        read_mask(sequence.annotations[stem], sequence.regions)
        for sequence in dataset.sequences
        for stem in dataset.scored(sequence)
    ]
    pairs = [(_worsen(annotation, index), annotation) for index, annotation in enumerate(annotations)]
    ours, published = _time_in_turn([_ours, _published], pairs, rounds)
    difference = float(np.abs(np.subtract(ours[1], published[1])).max())
    if difference > 1e-9:
        raise RuntimeError(f"the two ways differ by {difference}: speed is meaningless if results are wrong")
    files = {workers: _time_files(dataset, pairs, workers) for workers in (1, os.cpu_count() or 1)}
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "frames": len(pairs),
        "sizes": [list(size) for size in sorted({mask.shape for mask, _ in pairs})],
        "frames_per_second": {
            "one core, masks in memory": {"published way": len(pairs) / published[0], "adnet": len(pairs) / ours[0]},
            "adnet from files, start and decoding included": {
                f"{workers} core{'s' * (workers > 1)}": len(pairs) / seconds for workers, seconds in files.items()
            },
        },
        "ratio": published[0] / ours[0],
        "largest_difference": difference,
    }


def _subset(dataset: VideoDataset, frames: int) -> VideoDataset:
    """Reduce the dataset to `frames` annotated frames, evenly spaced among those that are scored."""
    all_frames = [(s.name, stem) for s in dataset.sequences for stem in dataset.scored(s)]
    chosen = {all_frames[round(index)] for index in np.linspace(0, len(all_frames) - 1, frames).tolist()}
    sequences = (
        replace(s, annotations={stem: path for stem, path in s.annotations.items() if (s.name, stem) in chosen})
        for s in dataset.sequences
    )
    return replace(dataset, sequences=tuple(s for s in sequences if s.annotations), scored=annotated_frames)


def _worsen(annotation: Mask, index: int) -> Mask:
    """Imitate a network's mask: shift the annotation by some pixels and erode it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3 + 2 * (index % 5),) * 2)
    shifted = np.roll(annotation, (index % 7 - 3, 2 * (index % 11) - 10), axis=(0, 1))
    return np.asarray(cv2.erode(shifted.astype(np.uint8), kernel), np.bool_)


def _time_in_turn(
    ways: list[Callable[[Mask, Mask], Score]], pairs: list[tuple[Mask, Mask]], rounds: int
) -> list[tuple[float, list[Score]]]:
    """Measure the seconds on one core, and the scores, of each way. They take turns, so that a busy machine slows all."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    best = [math.inf] * len(ways)
    scores: list[list[Score]] = [[]] * len(ways)
    for _ in range(rounds):
        for index, way in enumerate(ways):
            started = time.process_time()
            scores[index] = [way(*pair) for pair in pairs]
            best[index] = min(best[index], time.process_time() - started)
    cv2.setNumThreads(threads)
    return list(zip(best, scores, strict=True))


def _time_files(dataset: VideoDataset, pairs: list[tuple[Mask, Mask]], workers: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        stems = [(s.name, stem) for s in dataset.sequences for stem in dataset.scored(s)]
        for (sequence, stem), (mask, _) in zip(stems, pairs, strict=True):
            write_mask(Path(folder) / sequence / f"{stem}.png", mask)
        started = time.perf_counter()
        score_dataset(dataset, Path(folder), workers, kind="masks")
        return time.perf_counter() - started


def _ours(mask: Mask, annotation: Mask) -> Score:
    return region_similarity(mask, annotation), contour_accuracy(mask, annotation)


def _published(mask: Mask, annotation: Mask) -> Score:
    """Compute J and F like DAVIS's published Python evaluation: dilate both boundary maps of the whole frame with a disk."""
    union = np.sum(mask | annotation)
    J = float(np.sum(mask & annotation) / union) if union else 1.0
    radius = math.ceil(0.008 * np.linalg.norm(mask.shape))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    predicted, annotated = _boundary(mask), _boundary(annotation)
    near_annotated, near_predicted = (cv2.dilate(b.astype(np.uint8), disk) > 0 for b in (annotated, predicted))
    n_predicted, n_annotated = np.sum(predicted), np.sum(annotated)
    if not n_predicted or not n_annotated:
        return J, float(n_predicted == n_annotated)
    precision = np.sum(predicted & near_annotated) / n_predicted
    recall = np.sum(annotated & near_predicted) / n_annotated
    return J, float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _boundary(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    east, south, south_east = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1] = mask[:, 1:]
    south[:-1] = mask[1:]
    south_east[:-1, :-1] = mask[1:, 1:]
    boundary = mask ^ east | mask ^ south | mask ^ south_east
    boundary[-1] = mask[-1] ^ east[-1]
    boundary[:, -1] = mask[:, -1] ^ south[:, -1]
    boundary[-1, -1] = False
    return np.asarray(boundary)


if __name__ == "__main__":
    root, output = map(Path, sys.argv[1:])
    write_json(output, measured := measure(davis2016(root, "val")))
    print(json.dumps(measured, indent=1))
