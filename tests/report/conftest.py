"""Run folders as `python -m adnet.train` and `python -m adnet.evaluate` leave them, with invented scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from adnet.report.page import write_report
from adnet.report.read import find_runs

SEQUENCES = ("bear", "camel", "dog", "kite")
FRAMES = 6


def scores_of(values: Mapping[str, float]) -> dict[str, Any]:
    """`sequences` of a scores.json: J as given, F a tenth lower, recall 1 above one half."""
    return {
        name: {"frames": [f"{frame:05d}" for frame in range(FRAMES)]}
        | {
            measure: {"mean": score, "recall": float(score > 0.5), "decay": 0.02, "frames": [score] * FRAMES}
            for measure, score in (("J", value), ("F", value - 0.1))
        }
        for name, value in values.items()
    }


def write_davis(root: Path) -> Path:
    """A dataset in DAVIS layout: grey frames 32x48 of SEQUENCES, a square as annotation."""
    (root / "ImageSets/480p").mkdir(parents=True)
    (root / "ImageSets/480p/val.txt").write_text("\n".join(SEQUENCES))
    for name in SEQUENCES:
        for frame in range(FRAMES):
            image = root / "JPEGImages/480p" / name / f"{frame:05d}.jpg"
            annotation = root / "Annotations/480p" / name / f"{frame:05d}.png"
            for path, picture in ((image, np.full((32, 48, 3), 90, np.uint8)), (annotation, square(8))):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return root


def square(left: int) -> np.ndarray:
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, left : left + 16] = 255
    return mask


def write_run(
    base: Path,
    name: str,
    *,
    variant: str = "full",
    seed: int = 0,
    scores: tuple[float, ...] = (0.9, 0.4, 0.7, 0.6),
    dataset: str = "davis2016",
    split: str = "val",
    protocol: str = "paper",
    root: Path | None = None,
    initial: Mapping[str, float] | None = None,
    config: Mapping[str, Any] | None = None,
    sequences: tuple[str, ...] = SEQUENCES,
) -> Path:
    """Write the run folder `base/name` and return it; `scores` are J of SEQUENCES, `root` holds their frames."""
    folder = base / name
    evaluation = folder / "evaluation" / f"{dataset}-{split}-{protocol}"
    evaluation.mkdir(parents=True)
    per_sequence = scores_of(dict(zip(sequences, scores, strict=True)))
    mean = {
        measure: {
            key: float(np.mean([scores[measure][key] for scores in per_sequence.values()]))
            for key in ("mean", "recall", "decay")
        }
        for measure in ("J", "F")
    }
    document = {"dataset": dataset, "split": split, "protocol": protocol, "mean": mean, "sequences": per_sequence}
    notes = {"checkpoint": None, "dataset": dataset, "split": split} | ({"root": str(root)} if root else {})
    summary = {
        "variant": variant,
        "seed": seed,
        "J": mean["J"]["mean"],
        "F": mean["F"]["mean"],
        "initial": initial,
        "steps": (config or {}).get("steps", 2000),
        "seconds": 754.2,
        "git_commit": "0123456789abcdef",
        "versions": {"torch": "2.14.0", "adnet": "0.1.0"},
        "dataset": dataset,
        "parameters": 4_400_000,
    }
    (evaluation / "scores.json").write_text(json.dumps(document))
    (evaluation / "evaluation.json").write_text(json.dumps(notes))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": seed, **(config or {})}))
    (folder / "metrics.csv").write_text(
        "epoch,step,train/loss,train/lr,val/J\n0,0,0.7,0.005,\n0,50,0.5,0.004,\n0,99,,,0.31\n1,100,0.4,0.003,\n"
    )
    if root is not None:
        for sequence in sequences:
            (evaluation / "masks" / sequence).mkdir(parents=True)
            for frame in range(FRAMES):
                Image.fromarray(square(8 + frame)).save(evaluation / "masks" / sequence / f"{frame:05d}.png")
    return folder


def enrich(folder: Path, sequences: tuple[str, ...] = ("bear", "camel"), seed: int = 0) -> Path:
    """Add saliency, attributes and embeddings to the evaluation of a run, as far as an evaluation may have them."""
    (evaluation,) = folder.glob("evaluation/*")
    file = evaluation / "scores.json"
    scores = json.loads(file.read_text())
    recall = np.linspace(0, 1, 256)
    curves = {"precision": (1 - recall / 2).tolist(), "recall": recall.tolist()}
    scores["saliency"] = {
        "pooled": {"MAE": 0.05, "F_max": 0.75, **curves},
        "per_frame": {"MAE": 0.06, "F_max": 0.7, "F_adaptive": 0.65, **curves},
    }
    scores["attributes"] = {"FM": {"sequences": ["bear", "dog"]}, "OCC": {"sequences": ["kite", "elsewhere"]}}
    file.write_text(json.dumps(scores))
    drift = {
        name: {"frames": [f"{frame:05d}" for frame in range(FRAMES)], "distance": [0.1, 0.2, None, 0.3, 0.4, 0.5]}
        for name in sequences
    }
    (evaluation / "embeddings.json").write_text(json.dumps({"sequences": drift}))
    (evaluation / "embeddings").mkdir()
    random = np.random.default_rng(seed)
    for name in sequences:
        foreground = np.zeros((3, 5, 7), np.bool_)
        foreground[:, 1:4, 2:5] = True
        np.savez_compressed(
            evaluation / "embeddings" / f"{name}.npz",
            names=np.array(["00000", "00002", "00005"]),
            values=random.integers(-127, 128, (3, 5, 7, 16)).astype(np.int8),
            scales=random.uniform(0.01, 0.02, (3, 5, 7)).astype(np.float32),
            foreground=foreground,
            thumbnails=random.integers(0, 256, (3, 48, 72, 3)).astype(np.uint8),
        )
    return folder


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    return write_davis(tmp_path / "davis")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`write_run` into `tmp_path/runs`."""
    return partial(write_run, tmp_path / "runs")


@pytest.fixture
def make_enriched_run(tmp_path: Path) -> Callable[..., Path]:
    """`write_run` into `tmp_path/runs`, then `enrich`."""
    return lambda name, **options: enrich(write_run(tmp_path / "runs", name, **options))


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a baseline and a full run that have all that a report can show; to be read only."""
    base = tmp_path_factory.mktemp("two_runs")
    root = write_davis(base / "davis")
    enrich(write_run(base / "runs", "0", variant="baseline", root=root, scores=(0.8, 0.3, 0.7, 0.5)), seed=1)
    enrich(write_run(base / "runs", "1", root=root))
    return base / "runs"


@pytest.fixture(scope="session")
def report(two_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished report on `two_runs`, to be read only."""
    output = tmp_path_factory.mktemp("page") / "deep" / "report"
    assert write_report(find_runs([two_runs]), output, title="A <b>title</b>") == output / "index.html"
    return output
