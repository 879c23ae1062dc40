"""Segment and score a whole dataset; write masks in DAVIS layout."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from adnet.backends.load import checkpoint_sha256
from adnet.data.flow import SequenceFlow, Vectors
from adnet.data.videos import Video, VideoDataset, known_fingerprint
from adnet.errors import UserError
from adnet.inference.output_folder import PLAIN, Shard, describe_flow, locked_output, removed_after_user_error
from adnet.inference.postprocess import Postprocess
from adnet.inference.predict_videos import Outputs, predict
from adnet.inference.segmenter import VideoSegmenter
from adnet.metrics import score_dataset
from adnet.shared.files import write_json
from adnet.shared.machine import available_cpus
from adnet.video.file import VideoFrame
from adnet.video.sources import Images


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

    Writes `output/masks/<sequence>/<frame>.png` (0/255), `scores.json` and `evaluation.json`. Resumes an interrupted
    evaluation. Raises UserError if `output` belongs to another evaluation.

    Args:
        segmenter: with the network and the protocol.
        checkpoint: the file of the network, if any.
        overwrite: delete the results of another evaluation in `output`.
        probabilities: also write `probabilities/<sequence>/<frame>.png`, 8-bit round(255 p), and add their saliency scores.
        postprocess: applied to the probabilities of each frame.
        settings: what determines the results besides network, dataset and optical flow, see `built_postprocess`.
        shard: this process's share of the sequences. The last shard to finish scores all sequences; the others return {}.
        flow: optical flow for a network that needs it; None: `segmenter` computes it.
    """
    protocol, shard, data = segmenter.protocol, shard or Shard(), known_fingerprint(dataset)
    flow = flow if segmenter.model.needs_flow else None
    names = [sequence.name for sequence in dataset.sequences]
    videos = [sequence.name for sequence in dataset.sequences if len(sequence.frames) > 1]
    described = {
        "checkpoint": str(checkpoint) if checkpoint else None,
        "checkpoint_sha256": checkpoint_sha256(checkpoint) if checkpoint else None,
        "dataset": dataset.name,
        "root": str(dataset.root),
        "split": dataset.split,
        "options": dict(dataset.options),
        "sequences": names,
        "annotations_sha256": data["sha256"],
        "frames_sha256": data["frames_sha256"],
        "protocol": protocol.as_json(),
        "size": list(segmenter.sizes[0]),
        "flow": describe_flow(flow.method if flow else segmenter.flow, videos),
        "precision": segmenter.precision,
        **PLAIN,
        **(settings or {}),
    }
    replaced = [output / name for name in ("masks", "probabilities", "scores.json", "embeddings", "embeddings.json")]
    outputs = {name: Outputs(output, probabilities, video=name) for name in names}

    def is_done(sequence: Video) -> bool:
        return all(outputs[sequence.name].done(frame.stem) for frame in sequence.frames)

    marker = output / "evaluation.json"
    with (
        locked_output(marker, "evaluation", described, overwrite, replaced, shard) as earlier,
        removed_after_user_error([] if earlier or shard.count > 1 else [*replaced, marker]),
    ):
        started, count = time.perf_counter(), 0
        left = [sequence for sequence in shard.part_of(dataset.sequences) if not (earlier and is_done(sequence))]
        if flow is not None:
            flow.fill(left, workers=available_cpus())
        for sequence in tqdm(left, f"{dataset.name} {dataset.split}", unit="sequence", leave=False, disable=None):
            video = Images(sequence.name, sequence.frames, fps=24)
            flow_of = partial(_flow_of, flow, sequence) if flow else None
            done = predict(
                video, outputs[sequence.name], lambda _: segmenter, postprocess, None, bool(earlier), flow_of
            )
            if done.problem:
                raise UserError(done.problem)
            count += done.segmented
        seconds = time.perf_counter() - started
        if shard.count > 1 and not all(map(is_done, dataset.sequences)):
            return {}
        total = sum(len(sequence.frames) for sequence in dataset.sequences)
        scores = score_dataset(
            dataset,
            output / "masks",
            workers=None if total > 300 else 1,  # starting processes takes longer than scoring so few frames
            protocol=protocol.name,
            probabilities=output / "probabilities" if probabilities else None,
        )
        write_json(output / "scores.json", scores)
        write_json(marker, described | {"frames": count, "seconds": round(seconds, 2)})
        return scores


def _flow_of(flow: SequenceFlow, sequence: Video, frame: VideoFrame) -> Vectors:
    return flow(sequence, [path.stem for path in sequence.frames].index(frame.name))
