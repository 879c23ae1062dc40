"""Segment and score a whole dataset; masks go to disk in DAVIS layout."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from adnet.backends.load import checkpoint_sha256
from adnet.data.flow import SequenceFlow
from adnet.data.sequence import Mask, Probability, Sequence, VideoDataset, fingerprint, read_frame, write_mask
from adnet.inference.output_folder import Shard, claimed, describe_flow, removed_after_user_error
from adnet.inference.postprocess import Postprocess
from adnet.inference.segmenter import VideoSegmenter
from adnet.metrics import score_dataset
from adnet.shared.files import write_json
from adnet.shared.machine import available_cpus
from adnet.video.png import to_levels, write_png
from adnet.video.threads import prefetch, write_behind


def evaluate(
    segmenter: VideoSegmenter,
    dataset: VideoDataset,
    output: Path,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    probabilities: bool = False,
    postprocess: Postprocess | None = None,
    settings: Mapping[str, Any] | None = None,
    shard: Shard | None = None,
    flow: SequenceFlow | None = None,
) -> dict[str, Any]:
    """Segment every frame of `dataset`, score the masks, and return the scores as in `scores.json`.

    Writes `output/masks/<sequence>/<frame>.png` (0/255), `scores.json` and `evaluation.json` (what was evaluated how, and
    how long it took). With `probabilities` also `probabilities/<sequence>/<frame>.png`, 8-bit round(255 p), whose saliency
    scores are then in `scores.json`. An interrupted evaluation is continued. Raises UserError if `output` belongs to another
    evaluation.

    `checkpoint` is the file that the network came from, if any. `settings` lists in plain values what else tells evaluations
    apart: the `backend` ("torch" by default), the parameters of `postprocess` and, in `files_sha256`, the content of the files
    that these name. Network, dataset and optical flow are always compared by content.

    `flow` gives the optical flow to a network that needs it; None: `segmenter` computes it.

    A `shard` segments its share of the sequences. The last one to finish scores all of them; the others return {}.
    """
    protocol, shard, data = segmenter.protocol, shard or Shard(), fingerprint(dataset)
    flow = flow if segmenter.model.needs_flow else None
    videos = (
        sequence.name for sequence in dataset.sequences if len(sequence.frames) > 1
    )  # a single image has no motion
    described = {
        "checkpoint": str(checkpoint) if checkpoint else None,
        "checkpoint_sha256": checkpoint_sha256(checkpoint) if checkpoint else None,
        "dataset": dataset.name,
        "root": str(dataset.root),
        "split": dataset.split,
        "sequences": [sequence.name for sequence in dataset.sequences],
        "annotations_sha256": data["sha256"],
        "frames_sha256": data["frames_sha256"],
        "protocol": protocol.as_json(),
        "size": list(segmenter.sizes[0]),
        "flow": describe_flow(flow.method if flow else segmenter.flow, videos),
        "backend": "torch",
        "precision": segmenter.precision,
        "postprocess": None,
        "files_sha256": {},
        **(settings or {}),
    }
    folders = [output / "masks"] + [output / "probabilities"] * probabilities
    replaced = [output / name for name in ("masks", "probabilities", "scores.json", "embeddings", "embeddings.json")]
    shard.refuse_overwrite(output, overwrite)
    whole = protocol.stateful or postprocess is not None or segmenter.model.needs_flow

    def missing(sequence: Sequence) -> list[Path]:
        return [
            frame
            for frame in sequence.frames
            if not all((folder / sequence.name / f"{frame.stem}.png").is_file() for folder in folders)
        ]

    def write(names: tuple[str, str], probability: Probability) -> None:
        if probabilities:
            write_png(output / "probabilities" / names[0] / f"{names[1]}.png", to_levels(probability))
        mask: Mask = probability > protocol.threshold
        write_mask(output / "masks" / names[0] / f"{names[1]}.png", mask)

    marker = output / "evaluation.json"
    with claimed(marker, "evaluation", described, overwrite, replaced, shard) as earlier:
        done = bool(earlier)
        made = [] if done or shard.count > 1 else [*replaced, marker]
        with removed_after_user_error(made):
            started, count = time.perf_counter(), 0
            sequences = shard.mine(dataset.sequences)
            total = sum(len(sequence.frames) for sequence in sequences)
            if flow is not None:
                flow.fill((s for s in sequences if not done or missing(s)), workers=available_cpus())
            description = f"{dataset.name} {dataset.split}"
            with (
                tqdm(total=total, desc=description, unit="frame", leave=False, disable=None) as progress,
                write_behind(write) as put,
            ):
                for sequence in sequences:
                    left = missing(sequence) if done else list(sequence.frames)
                    if left and whole:
                        left = list(sequence.frames)
                    progress.update(len(sequence.frames) - len(left))
                    if not left:
                        continue
                    if postprocess:
                        postprocess.start(sequence.name, map(read_frame, sequence.frames))
                    segmenter.start(read_frame(sequence.frames[0]))
                    with closing(prefetch(map(read_frame, left))) as frames:
                        # A network that needs flow goes through whole sequences.
                        flows = None if flow is None else (flow(sequence, index) for index in range(len(left)))
                        for frame, probability in zip(left, segmenter.steps(frames, flows=flows), strict=True):
                            if postprocess:
                                probability = postprocess.step(frame.stem, probability)
                            put((sequence.name, frame.stem), probability)
                            progress.update()
                    count += len(left)
            seconds = time.perf_counter() - started
            if shard.count > 1 and any(map(missing, dataset.sequences)):
                return {}
            scores = score_dataset(
                dataset,
                output / "masks",
                workers=None if total > 300 else 1,  # a process takes longer to start than to score so few frames
                protocol=protocol.name,
                probabilities=output / "probabilities" if probabilities else None,
            )
            write_json(output / "scores.json", scores)
            write_json(marker, described | {"frames": count, "seconds": round(seconds, 2)})
            return scores
