"""Measure what corrected frames are worth on DAVIS: `python experiments/corrections/corrections.py RESULT.json [--split val]`.

For each sequence: segment it with the network, give it the annotations of the first frame, or of the first, the middle and the worst one
(by J of the first prediction), adapt as `python -m adnet.adapt` does, segment again. The result is J of the frames that were not given,
without the first and the last, as everywhere on DAVIS-2016. Each is written to RESULT.json as soon as it is done, and not done again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adnet.backends.load import checkpoint_sha256
from adnet.backends.runtime import for_inference
from adnet.data.datasets import davis2016
from adnet.data.videos import Video
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.protocol import fitted_size
from adnet.metrics import region_similarity
from adnet.models import ADNet
from adnet.models.checkpoint import load_checkpoint
from adnet.report.read import paper_tables
from adnet.shared.files import read_json, write_json, write_text
from adnet.training.adaptation import adapt
from adnet.video.sources import VideoSource, video_sources
from adnet.weights.pretrained import locate

Scores = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--sequences", nargs="*", help="default: all of the split")
    parser.add_argument("--checkpoint", help="default: the weights that come with adnet")
    parser.add_argument("--processes", type=int, default=1, help="sequences at a time; then set OMP_NUM_THREADS, too")
    given = parser.parse_args()
    checkpoint = locate(given.checkpoint)
    about = {"checkpoint_sha256": checkpoint_sha256(checkpoint), "dataset": "davis2016", "split": given.split}
    result: dict[str, Any] = read_json(given.result) if given.result.is_file() else about | {"sequences": {}}
    assert {key: result[key] for key in about} == about, f"{given.result} is of another network or split"
    dataset = davis2016(Path(os.environ["ADNET_DATA"]) / "DAVIS", given.split, given.sequences)
    left = [sequence for sequence in dataset.sequences if sequence.name not in result["sequences"]]
    for name, scores in all_measured(checkpoint, left, given.processes):
        result["sequences"] = dict(sorted({**result["sequences"], name: scores}.items()))
        write_json(given.result, result)
    write_text(given.result.with_suffix(".md"), "\n".join(table(result["sequences"])) + "\n")


def all_measured(checkpoint: Path, sequences: Iterable[Video], processes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the scores of each sequence as soon as it is done."""
    if processes == 1:
        yield from map(partial(measured, checkpoint), sequences)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        jobs = [pool.submit(measured, checkpoint, sequence) for sequence in sequences]
        yield from (job.result() for job in as_completed(jobs))


def measured(checkpoint: Path, sequence: Video) -> tuple[str, dict[str, Any]]:
    """Score a sequence before and after 1 and 3 corrected frames; J in [0, 1]."""
    network, size = load_checkpoint(checkpoint)
    (source,) = video_sources(str(sequence.frames[0].parent))
    before = similarities(network, size, source, sequence)
    middle, inner = len(before) // 2, range(1, len(before) - 1)
    worst = min((index for index in inner if index != middle), key=lambda index: before[index])
    scores: dict[str, Any] = {"frames": len(before), "threads": torch.get_num_threads()}
    for chosen in ([0], [0, middle, worst]):
        masks = {sequence.frames[index].stem: sequence.annotation(sequence.frames[index]) for index in chosen}
        started = time.perf_counter()
        adapted = adapt(network, source, masks, size)
        learned = time.perf_counter()
        after = similarities(adapted, size, source, sequence)
        left = [index for index in inner if index not in chosen]
        scores[str(len(chosen))] = {
            "corrected": chosen,
            "before": round(float(before[left].mean()), 4),
            "after": round(float(after[left].mean()), 4),
            "corrected_before": round(float(before[chosen].mean()), 4),
            "corrected_after": round(float(after[chosen].mean()), 4),
            "seconds_to_learn": round(learned - started, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }
        print(sequence.name, scores[str(len(chosen))], flush=True)
    return sequence.name, scores


def similarities(network: ADNet, size: tuple[int, int], source: VideoSource, sequence: Video) -> Scores:
    """Segment a sequence as `python -m adnet.predict` does, and return J of each frame, `[T]`."""
    frames = [frame.image for frame in source.frames()]
    protocol = Protocol("refined", refine=True)
    segmenter = VideoSegmenter(
        for_inference(network), protocol, fitted_size(size, (frames[0].shape[0], frames[0].shape[1]))
    )
    masks = (probability > protocol.threshold for probability in segmenter.segment(frames))
    right = (sequence.annotation(frame) for frame in sequence.frames)
    return np.array([region_similarity(*pair) for pair in zip(masks, right, strict=True)])


def table(sequences: dict[str, Any]) -> Iterator[str]:
    """Write the Markdown table, in percent, with the paper's semi-supervised methods below."""
    yield "| sequence | J | after 1 | gain | J | after 3 | gain |"
    yield "| --- | --: | --: | --: | --: | --: | --: |"
    columns = [(number, key) for number in ("1", "3") for key in ("before", "after")]
    rows = {name: [100 * scores[n][key] for n, key in columns] for name, scores in sequences.items()}
    rows["mean"] = list(np.mean([*rows.values()], axis=0))
    for name, (one, after_1, three, after_3) in rows.items():
        label = name if name == "mean" else f"`{name}`"
        yield f"| {label} | {one:.1f} | {after_1:.1f} | {after_1 - one:+.1f} | {three:.1f} | {after_3:.1f} | {after_3 - three:+.1f} |"
    yield ""
    yield "| published (first frame given) | J |"
    yield "| --- | --: |"
    for row in paper_tables()["table2"]["rows"]:
        if row["first_frame"]:
            yield f"| {row['method']} | {row['J']:.1f} |"


if __name__ == "__main__":
    main()
