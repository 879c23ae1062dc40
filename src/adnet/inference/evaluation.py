"""Masks of a whole dataset, on disk in DAVIS layout."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from adnet.data.sequence import VideoDataset, read_frame, write_mask
from adnet.errors import UserError
from adnet.files import write_json
from adnet.inference.segmenter import VideoSegmenter
from adnet.metrics import score_dataset


def evaluate(
    segmenter: VideoSegmenter,
    dataset: VideoDataset,
    output: Path,
    checkpoint: Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Segment every frame of `dataset` and score the masks; the scores, as in `scores.json`.

    Writes `output/masks/<sequence>/<frame>.png` (0/255), `scores.json` and `evaluation.json` (what was evaluated how, and
    how long it took). A folder that was left half-way by the same evaluation is finished. Raises UserError if `output` is
    another's. `checkpoint` is where the network came from, if it was from a file.
    """
    protocol = segmenter.protocol
    described = {
        "checkpoint": str(checkpoint) if checkpoint else None,
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest() if checkpoint else None,
        "dataset": dataset.name,
        "root": str(dataset.root),
        "split": dataset.split,
        "sequences": [sequence.name for sequence in dataset.sequences],
        # As it reads in JSON, to compare with what an earlier call left.
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "size": list(segmenter.sizes[0]),
    }
    done = _claim(output, described, overwrite)
    started, frames = time.perf_counter(), 0
    total = sum(len(sequence.frames) for sequence in dataset.sequences)
    with tqdm(total=total, desc=f"{dataset.name} {dataset.split}", unit="frame", leave=False) as progress:
        for sequence in dataset.sequences:
            targets = [output / "masks" / sequence.name / f"{frame.stem}.png" for frame in sequence.frames]
            left = [(f, t) for f, t in zip(sequence.frames, targets, strict=True) if not (done and t.is_file())]
            if left and protocol.stateful:
                left = list(zip(sequence.frames, targets, strict=True))
            progress.update(len(targets) - len(left))
            if left:
                segmenter.start(read_frame(sequence.frames[0]))
            for frame, target in left:
                write_mask(target, segmenter.step(read_frame(frame)) > protocol.threshold)
                progress.update()
            frames += len(left)
    seconds = time.perf_counter() - started
    # Workers would import torch again each, for longer than the scoring takes.
    scores = score_dataset(dataset, output / "masks", workers=1, protocol=protocol.name)
    write_json(output / "scores.json", scores)
    write_json(output / "evaluation.json", described | {"frames": frames, "seconds": round(seconds, 2)})
    return scores


def _claim(output: Path, described: dict[str, Any], overwrite: bool) -> bool:
    """Make `output` ours; whether masks that are there already are this evaluation's."""
    marker = output / "evaluation.json"
    if marker.is_file() and not overwrite:
        earlier = json.loads(marker.read_text())
        if {key: earlier.get(key) for key in described} == described:
            return True
        raise UserError(f"{output} holds another evaluation; give another output, or overwrite=true")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise UserError(f"{output} is not empty and holds no evaluation; give another output, or overwrite=true")
    write_json(marker, described)
    return False
