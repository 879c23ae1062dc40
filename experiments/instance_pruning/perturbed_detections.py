"""What instance pruning does to masks with false objects in them, and to masks without.

    python experiments/instance_pruning/perturbed_detections.py OUTPUT [--root data/DAVIS] [--masks DIR] [--split val] [--seed 0]

A detector's results are made from the annotations: the object with a jittered border and missed at times, a part of it as a
second detection, and two false objects that cross the frame in the shape of other videos' objects: one too small, one there
too briefly. Masks to prune are `--masks` (`<sequence>/<frame>.png`, any method's; default: annotations with a jittered
border) as they are (`clean`) and with the false objects in them (`distracted`), each pruned and not. Writes
`detections.json`, the masks, and `results.json`.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from pycocotools import mask as rle
from tqdm import tqdm

from adnet.data import Video, VideoDataset, davis2016, read_frame, read_mask, write_mask
from adnet.instance_pruning.detectors import Precomputed
from adnet.instance_pruning.rules import InstancePruning
from adnet.metrics import score_dataset
from adnet.shared.command import conf_dir
from adnet.shared.files import write_json

Mask = npt.NDArray[np.bool_]

MISSED = 0.05  # of the object's detections
JITTER = 3  # pixels that a border moves at most
SMALL = 0.05  # area of the small false object, as a share of the object's
BRIEF = 0.25  # share of the frames that the brief false object, as large as the object, is in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--root", type=Path, default=Path("data/DAVIS"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--sequences", nargs="*")
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="processes that score (default: all cores)")
    given = parser.parse_args()
    results = measure(
        davis2016(given.root, given.split, given.sequences), given.output, given.masks, given.seed, given.workers
    )
    print(f"{'':<20} {'clean':>12} {'pruned':>12} {'distracted':>12} {'pruned':>12}   (J / F)")
    for name, row in [*results["sequences"].items(), ("mean", results["mean"])]:
        print(
            f"{name:<20} " + " ".join(f"{100 * scores['J']:5.1f} /{100 * scores['F']:5.1f}" for scores in row.values())
        )


def measure(
    dataset: VideoDataset, output: Path, masks: Path | None = None, seed: int = 0, workers: int | None = None
) -> dict[str, Any]:
    """J and F of each of the four kinds of masks, by sequence and as the mean."""
    donors = [sequence_masks(sequence) for sequence in dataset.sequences]
    entries: list[dict[str, Any]] = []
    for number, sequence in enumerate(tqdm(dataset.sequences, desc="perturb", leave=False)):
        rng = np.random.default_rng([seed, zlib.crc32(sequence.name.encode())])
        shapes = [donors[(number + step) % len(donors)] for step in (1, 2)]
        false = list(false_objects(donors[number], shapes, rng))
        for frame, truth, pasted in zip(sequence.frames, donors[number], false, strict=True):
            entries += detections(f"{sequence.name}/{frame.stem}", truth, pasted, rng)
            clean = read_mask(masks / sequence.name / f"{frame.stem}.png") if masks else jitter(truth, rng)
            distracted = clean | np.any([jitter(mask, rng) for mask in pasted], axis=0) & ~truth
            write_mask(output / "clean" / sequence.name / f"{frame.stem}.png", clean)
            write_mask(output / "distracted" / sequence.name / f"{frame.stem}.png", distracted)
    write_json(output / "detections.json", entries)

    parameters = yaml.safe_load((conf_dir() / "postprocess" / "instance_pruning.yaml").read_text(encoding="utf-8"))
    parameters = {key: parameters[key] for key in ("part", "iou", "gap", "area", "presence", "margin")}
    pruning = InstancePruning(Precomputed(output / "detections.json"), **parameters)
    for kind in ("clean", "distracted"):
        for sequence in tqdm(dataset.sequences, desc="prune", leave=False):
            prune(pruning, sequence, output / kind, output / f"{kind}-pruned")
    kinds = {
        kind: score_dataset(dataset, output / kind, workers)
        for kind in ("clean", "clean-pruned", "distracted", "distracted-pruned")
    }

    def row(scores: Any) -> dict[str, float]:
        return {measure: scores[measure]["mean"] for measure in "JF"}

    results = {
        "dataset": dataset.name,
        "split": dataset.split,
        "masks": str(masks) if masks else "annotations",
        "seed": seed,
        "parameters": parameters,
        "mean": {kind: row(scores["mean"]) for kind, scores in kinds.items()},
        "sequences": {
            sequence.name: {kind: row(scores["sequences"][sequence.name]) for kind, scores in kinds.items()}
            for sequence in dataset.sequences
        },
    }
    write_json(output / "results.json", results)
    return results


def prune(pruning: InstancePruning, sequence: Video, masks: Path, output: Path) -> None:
    """Prune the masks of a sequence as probabilities of 0 and 1."""
    pruning.start(sequence.name, map(read_frame, sequence.frames))
    for frame in sequence.frames:
        probability = read_mask(masks / sequence.name / f"{frame.stem}.png").astype(np.float32)
        write_mask(output / sequence.name / f"{frame.stem}.png", pruning.step(frame.stem, probability) > 0.5)


def sequence_masks(sequence: Video) -> list[Mask]:
    return [sequence.annotation(frame) for frame in sequence.frames]


def detections(image: str, truth: Mask, pasted: list[Mask], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """COCO results for one frame: the object unless it is missed, its upper part, the false objects."""
    rows = np.flatnonzero(truth.any(1))
    upper = truth.copy()
    upper[rows[len(rows) // 2] if len(rows) else 0 :] = False
    masks = [*([truth] if rng.random() >= MISSED else []), upper, *pasted]
    for mask in masks:
        if mask.any():
            yield {"image_id": image, "segmentation": encoded(jitter(mask, rng)), "score": float(rng.uniform(0.5, 1))}


def encoded(mask: Mask) -> dict[str, Any]:
    """Bool `[H, W]` in COCO's compressed run-length code."""
    code = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}


def false_objects(truth: list[Mask], shapes: list[list[Mask]], rng: np.random.Generator) -> Iterator[list[Mask]]:
    """For each frame the small and the brief object, behind the true one (`[H, W]` each, perhaps empty)."""
    height, width = truth[0].shape
    area = float(np.mean([mask.sum() for mask in truth]))
    length = max(1, round(BRIEF * len(truth)))
    begin = int(rng.integers(len(truth) - length + 1))
    ways = rng.uniform(0.1, 0.9, (2, 2, 2)) * (width, height)  # object, from and to, x and y
    for position, mask in enumerate(truth):
        at = position / max(1, len(truth) - 1)
        pasted = []
        for shape, size, (start, end), seen in zip(
            shapes, (SMALL * area, area), ways, (True, begin <= position < begin + length), strict=True
        ):
            donor = shape[position % len(shape)]
            pasted.append(placed(donor, size, (1 - at) * start + at * end) & ~mask if seen else np.zeros_like(mask))
        yield pasted


def placed(shape: Mask, area: float, centre: npt.NDArray[np.float64]) -> Mask:
    """`shape` scaled to `area` pixels, its centre of mass at `centre` (x, y), cut at the frame's border."""
    rows, columns = np.nonzero(shape)
    if not len(rows):
        return np.zeros_like(shape)
    scale = float(np.sqrt(area / len(rows)))
    shift = centre - scale * np.array([columns.mean(), rows.mean()])
    warp = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(cv2.warpAffine(shape.astype(np.uint8), warp, shape.shape[::-1], flags=cv2.INTER_NEAREST), bool)


def jitter(mask: Mask, rng: np.random.Generator) -> Mask:
    """Moved and grown or shrunk by up to JITTER pixels, as another method would draw it."""
    shift = rng.integers(-JITTER, JITTER + 1, 2)
    size = 2 * int(rng.integers(JITTER + 1)) + 1
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    moved = cv2.warpAffine(
        mask.astype(np.uint8), np.array([[1, 0, shift[0]], [0, 1, shift[1]]], float), mask.shape[::-1]
    )
    return np.asarray(change(moved, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), bool)


if __name__ == "__main__":
    main()
