"""Export a network to files that other libraries run."""

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from timm.layers import AvgPool2dSame, Conv2dSame, to_2tuple
from torch import Tensor, nn
from torch.nn import functional as F

from adnet.backends.runtime import FORMATS, METADATA, ExportedModel, files_of, for_inference
from adnet.data.flow import OpticalFlow, SequenceFlow, Vectors, to_flow_input
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame, read_frame
from adnet.data.synthetic import synthetic_video
from adnet.data.videos import VideoDataset
from adnet.errors import UserError
from adnet.models import ADNet, Encoded, upsample
from adnet.models.depthwise import DepthwiseConv2d, DepthwiseConv2dSame, PointwiseConv2d
from adnet.shared.files import new_folder, sha256, write_json
from adnet.shared.machine import installed

REVISION = 2
"""Part of the names of exports made for `backend=`: increase it whenever the same network is exported differently."""

_TOLERANCE = 1e-3
"""Largest difference that float32 rounding may make, relative to the largest logit."""

_CHECKED_SIZES = ((65, 97), (73, 121))
"""Sides of 16k + 1, and sides only of 8k + 1, where strides above 8 meet even sides; neither is the traced size."""


def export_model(
    model: ADNet,
    size: tuple[int, int],
    output: Path,
    format: str = "onnx",  # noqa: A002 (the word that users know)
    calibration: Sequence[tuple[Tensor, ...]] = (),
    described: Mapping[str, Any] | None = None,
) -> ExportedModel:
    """Write the encoder (`embed`) and the fusion (`segment`) of `model` separately, so that an anchor is embedded once.

    Both take frames of any size with sides of 8k + 1, one at a time. Before the export is saved, its logits are compared with
    those of `model` at three sizes.

    Args:
        size: the network's test size, height and width in pixels.
        output: a folder that doesn't exist yet, or is empty.
        format: one of `FORMATS`.
        calibration: frames `[1, 3, H, W]` in [0, 1], each with its flow if the network needs it. If any are given, the
            convolutions' weights and activations become 8-bit integers, in ranges calibrated on these frames.
        described: further entries of `export.json`, as plain values.

    Raises UserError for an unknown format, a folder that is not empty, a missing library and an export that disagrees with the
    network; the folder is then not created.
    """
    if format not in FORMATS:
        raise UserError(f"format={format}: choose from {', '.join(FORMATS)}")
    if calibration and not FORMATS[format].INT8:
        raise UserError(f"format={format} has no int8: give {' or '.join(n for n in FORMATS if FORMATS[n].INT8)}")
    model = with_standard_layers(model)
    with new_folder(output) as draft:
        with torch.no_grad():
            for part, name in zip(_parts(model), files_of(format), strict=False):  # a baseline has no fusion
                ranges = (calibration, part.given) if calibration else ()
                FORMATS[format].write(part.module, part.example, part.names, draft / name, *ranges)
        metadata = {
            "format": format,
            "variant": model.variant,
            "needs_anchor": model.needs_anchor,
            "needs_flow": model.needs_flow,
            "takes_several_anchors": model.takes_several_anchors,
            "size": list(size),
            "int8": bool(calibration),
            **(described or {}),
            "sha256": {file.name: sha256(file) for file in sorted(draft.iterdir())},
            "versions": installed("adnet", "torch", "openvino", "nncf", "onnx", "onnxruntime"),
        }
        write_json(draft / METADATA, metadata)
        sizes = [*_CHECKED_SIZES, (min(size[0], 129), min(size[1], 225))]
        difference = _check(model, ExportedModel(draft), sizes, bool(calibration))
        write_json(draft / METADATA, metadata | {"largest_difference": difference})
    return ExportedModel(output)


def calibration_inputs(
    dataset: VideoDataset, number: int, size: tuple[int, int], flow: SequenceFlow | None = None
) -> list[tuple[Tensor, ...]]:
    """Read `number` frames of as many sequences as possible, each with its flow if `flow` is given.

    All are `[1, 3, H, W]` in [0, 1], resized to `size`.
    """
    each = -(-number // len(dataset.sequences))
    positions = np.linspace(0, 1, each + 2)[1:-1]
    inputs = []
    for position, sequence in islice(product(positions, dataset.sequences), number):
        index = int(position * (len(sequence.frames) - 1))
        vectors = flow(sequence, index) if flow else None
        inputs.append(_encoder_input(read_frame(sequence.frames[index]), vectors, size))
    return inputs


def synthetic_inputs(number: int, size: tuple[int, int], flow: bool = False) -> list[tuple[Tensor, ...]]:
    """Generate the middle frames of `number` synthetic videos, always the same, in the form of `calibration_inputs`."""
    inputs = []
    for seed in range(number):
        (before, _), (frame, _) = islice(synthetic_video(np.random.default_rng(seed), 8, (240, 432)), 3, 5)
        inputs.append(_encoder_input(frame, OpticalFlow()(frame, before) if flow else None, size))
    return inputs


def _encoder_input(frame: Frame, flow: Vectors | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
    given = [to_tensor(frame).float() / 255, *([] if flow is None else [to_flow_input(flow)])]
    return tuple(upsample(tensor[None], size) for tensor in given)


class _OfNetwork(nn.Module):
    def __init__(self, model: ADNet) -> None:
        super().__init__()
        self.model = model


class _Embed(_OfNetwork):
    def forward(self, frames: Tensor, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        return _flat(self.model.encode(frames, flow))


class _Segment(_OfNetwork):
    def forward(self, anchor: Tensor, embedding: Tensor, *rest: Tensor) -> Tensor:
        motion = rest[-1] if self.model.needs_flow else None
        return self.model.segment(anchor, Encoded(embedding, rest[: -1 if self.model.needs_flow else None], motion))


def _flat(encoded: Encoded) -> tuple[Tensor, ...]:
    return (encoded.embedding, *encoded.shallow, *(() if encoded.motion is None else (encoded.motion,)))


class _Part(NamedTuple):
    """Encoder or fusion, an example of its inputs, their names, and how to make them from the encoder's inputs."""

    module: nn.Module
    example: tuple[Tensor, ...]
    names: list[str]
    given: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]] = tuple


def _parts(model: ADNet) -> list[_Part]:

    def given(frames: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return X_0 and the encoded frame, which is its own anchor, as a video's first frame is."""
        encoded = _flat(model.encode(*frames))
        # The same tensor given twice would be exported as one input.
        return (encoded[0].clone(), *(tensor.clone() for tensor in encoded))

    names = ["frames", "flow"] if model.needs_flow else ["frames"]
    inputs = tuple(torch.rand(1, 3, 65, 113) for _ in names)
    parts = [_Part(_Embed(model).eval(), inputs, names)]
    if model.branches or model.decoder is not None:
        example = given(inputs)
        between = ["embedding", *(f"shallow{index}" for index in range(len(example) - 2 - model.needs_flow))]
        names = ["anchor", *between, *["motion"] * model.needs_flow]
        parts.append(_Part(_Segment(model).eval(), example, names, given))
    return parts


def _check(model: ADNet, exported: ExportedModel, sizes: Sequence[tuple[int, int]], int8: bool) -> float:
    """Return the largest difference of logits over `sizes`, relative to the largest logit."""
    largest = 0.0
    for size in sizes:
        # Smooth, like photos: on noise, some networks compute a softmax over numbers so large that rounding decides.
        coarse = torch.rand(3, 3, 5, 8, generator=torch.Generator().manual_seed(0))
        anchor, frame, flow = upsample(coarse, size)[:, None]
        with torch.inference_mode():
            expected = model.segment(model.embed(anchor), model.encode(frame, flow))
            got = exported.logits(exported.embed(anchor), frame, flow)
        if got.shape != expected.shape:
            raise UserError(f"the export gives logits of shape {list(got.shape)}, the network {list(expected.shape)}")
        largest = max(largest, float((got - expected).abs().max() / expected.abs().max()))
    if not (int8 or largest < _TOLERANCE):
        raise UserError(f"the export's logits differ from the network's by {largest:.1e}; nothing was written")
    return largest


def with_standard_layers(model: ADNet) -> ADNet:
    """Copy `model` to the CPU for other libraries, with standard operators only and the same logits for frames of any size."""
    model = for_inference(copy.deepcopy(model).cpu())
    for module in model.modules():
        module.__class__ = _STANDARD.get(type(module), type(module))
    return model


class _Conv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.Conv2d)
        x = _padded(input, self.kernel_size, self.stride, self.dilation)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class _AvgPool2d(nn.AvgPool2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name in nn.AvgPool2d)
        kernel, stride = to_2tuple(self.kernel_size), to_2tuple(self.stride)
        return F.avg_pool2d(_padded(input, kernel, stride), kernel, stride)


_STANDARD: dict[type[nn.Module], type[nn.Module]] = {
    PointwiseConv2d: nn.Conv2d,
    DepthwiseConv2d: nn.Conv2d,
    DepthwiseConv2dSame: _Conv2d,
    Conv2dSame: _Conv2d,
    AvgPool2dSame: _AvgPool2d,
}
"""Layer -> an equivalent that exporters understand."""


def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...] = (1, 1)) -> Tensor:
    """Pad `[B, C, H, W]` as TensorFlow does, with only integer arithmetic: exporters take minutes for timm's padding.

    Padding depends on the size: at output stride 16, sides of 8k + 1 lead to odd and even sides; even sides get one pixel
    less in front. A kernel size must be 1 or at least the stride.
    """
    padding: list[int] = []
    for axis in (-1, -2):
        extent = dilation[axis] * (kernel[axis] - 1)
        total = extent - (x.shape[axis] - 1) % stride[axis] if extent else 0
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding)
