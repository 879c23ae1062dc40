"""Whether two copies of a dataset are the same data."""

from __future__ import annotations

import hashlib
from typing import Any

from adnet.data.sequence import VideoDataset


def fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Names, sizes, a SHA-256 over the annotations and one over the frames: equal for equal data, wherever it lies."""
    digest, frames = hashlib.sha256(), hashlib.sha256()
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            digest.update(f"{sequence.name}/{frame.stem}\n".encode())
            frames.update(hashlib.sha256(frame.read_bytes()).digest())
            if frame.stem in sequence.annotations:
                digest.update(hashlib.sha256(sequence.annotations[frame.stem].read_bytes()).digest())
    return {
        "sequences": [sequence.name for sequence in dataset.sequences],
        "frames": sum(len(sequence.frames) for sequence in dataset.sequences),
        "sha256": digest.hexdigest(),
        "frames_sha256": frames.hexdigest(),
    }
