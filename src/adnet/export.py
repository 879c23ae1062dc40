"""Write a network for another runtime: `python -m adnet.export checkpoint=RUN/checkpoints/last.ckpt format=openvino output=DIR`.

The encoder and the fusion are files of their own, so that a video's anchor is embedded once. The result goes wherever a
checkpoint goes: `python -m adnet.evaluate checkpoint=DIR backend=openvino output=MASKS`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from adnet.command import command
from adnet.data.pairs import to_tensor
from adnet.data.sequence import VideoDataset, read_frame
from adnet.inference import load_checkpoint
from adnet.inference.backends import describe
from adnet.inference.exporting import export_model
from adnet.models import upsample


@command("export")
def main(cfg: DictConfig) -> None:
    checkpoint, output = Path(cfg.checkpoint), Path(cfg.output)
    model, size = load_checkpoint(checkpoint)
    size = tuple(cfg.size or size)
    frames = calibration_frames(instantiate(cfg.data), cfg.calibration_frames, size) if cfg.int8 else []
    exported = export_model(model, size, output, cfg.format, frames, describe(checkpoint))
    difference = exported.metadata["largest_difference"]
    print(
        f"{checkpoint}: {model.variant} -> {output}   largest difference of logits {difference:.1e} of the largest logit"
    )


def calibration_frames(dataset: VideoDataset, number: int, size: tuple[int, int]) -> list[Tensor]:
    """`number` frames `[1, 3, H, W]` in [0, 1], resized to `size`: of as many sequences as there are, evenly spaced in each."""
    sequences = dataset.sequences
    each = -(-number // len(sequences))
    picks = (
        sequence.frames[int(index)]
        for position in np.linspace(0, 1, each + 2)[1:-1]
        for sequence in sequences
        for index in [position * (len(sequence.frames) - 1)]
    )
    return [upsample(to_tensor(read_frame(path))[None].float() / 255, size) for path in islice(picks, number)]


if __name__ == "__main__":
    main()
