"""Write a network for another runtime: `python -m adnet.export checkpoint=RUN/checkpoints/last.ckpt format=openvino output=DIR`.

The encoder and the fusion are files of their own, so that a video's anchor is embedded once. The result goes wherever a
checkpoint goes: `python -m adnet.evaluate checkpoint=DIR backend=openvino output=MASKS`. Its `export.json` lists the SHA-256 of
each file; a folder in which one is missing or another is not opened. `format=safetensors` writes the weights alone, in half
precision, with a `config.json` that says which network they are of: what is published, and goes wherever a checkpoint goes.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.command import command
from adnet.data.sequence import VideoDataset, read_frame

if TYPE_CHECKING:
    from torch import Tensor


@command("export")
def main(cfg: DictConfig) -> None:
    from adnet.inference.backends import describe
    from adnet.inference.checkpoint import load_checkpoint, read_checkpoint
    from adnet.inference.exporting import export_model
    from adnet.models.model_card import model_card
    from adnet.models.pretrained import locate, write_pretrained

    checkpoint, output = locate(cfg.checkpoint), Path(cfg.output)
    model, size = load_checkpoint(checkpoint)
    size = tuple(cfg.size or size)
    if cfg.format == "safetensors":
        config, _, weights = read_checkpoint(checkpoint)
        card = model_card(output.resolve().name, model.variant, cfg.scores)
        write_pretrained(output, config, size, weights, describe(checkpoint), card)
        print(f"{checkpoint}: {model.variant} -> {output}   weights alone, in half precision")
        return
    inputs = []
    if cfg.int8:
        inputs = calibration_inputs(instantiate(cfg.data), cfg.calibration_frames, size, model.needs_flow)
    exported = export_model(model, size, output, cfg.format, inputs, describe(checkpoint))
    difference = exported.metadata["largest_difference"]
    print(
        f"{checkpoint}: {model.variant} -> {output}   largest difference of logits {difference:.1e} of the largest logit"
    )


def calibration_inputs(
    dataset: VideoDataset, number: int, size: tuple[int, int], flow: bool = False
) -> list[tuple[Tensor, ...]]:
    """Read `number` frames of as many sequences as there are, evenly spaced in each, with their optical flow if asked for.

    All are `[1, 3, H, W]` in [0, 1], resized to `size`.
    """
    from adnet.data.flow import OpticalFlow, SequenceFlow, to_flow_input
    from adnet.data.pairs import to_tensor
    from adnet.models import upsample

    sequences = dataset.sequences
    each = -(-number // len(sequences))
    picks = islice(
        (
            (sequence, int(position * (len(sequence.frames) - 1)))
            for position in np.linspace(0, 1, each + 2)[1:-1]
            for sequence in sequences
        ),
        number,
    )
    inputs: list[tuple[Tensor, ...]] = []
    optical_flow = SequenceFlow(OpticalFlow())
    for sequence, index in picks:
        given = [to_tensor(read_frame(sequence.frames[index])).float() / 255]
        if flow:
            given.append(to_flow_input(optical_flow(sequence, index)))
        inputs.append(tuple(upsample(tensor[None], size) for tensor in given))
    return inputs


if __name__ == "__main__":
    main()
