"""Export a network to files that other libraries run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adnet.backends.prepare import portable
from adnet.backends.runtime import FILES, METADATA, ExportedModel, in_own_thread, library
from adnet.data.flow import OpticalFlow, SequenceFlow, Vectors, to_flow_input
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame, read_frame
from adnet.data.sequence import VideoDataset
from adnet.data.synthetic_video import synthetic_video
from adnet.errors import UserError
from adnet.models import ADNet, Encoded, upsample
from adnet.shared.files import new_folder, sha256, write_json
from adnet.shared.machine import installed

REVISION = 2
"""Is part of the names of exports that `backend=` makes: raise it whenever the same network comes to be exported otherwise."""

_TOLERANCE = 1e-3
"""Largest difference that float32 rounding may make, relative to the largest logit."""

_BLOCKS = 32
"""Number of parts that an ONNX file cuts attention's queries into: two `N / 32 x N` matrices at a time are in memory."""

_CHECKED_SIZES = ((65, 97), (73, 121))
"""Sides of 16k + 1, and of 8k + 1 alone, where strides beyond 8 meet even sides; neither is the size that is traced."""


def export_model(
    model: ADNet,
    size: tuple[int, int],
    output: Path,
    format: str = "onnx",  # noqa: A002 (the word that users know)
    calibration: Sequence[tuple[Tensor, ...]] = (),
    described: Mapping[str, Any] | None = None,
) -> ExportedModel:
    """Write the encoder (`embed`) and the fusion (`segment`) of `model` separately, so that an anchor is embedded once.

    Both take frames of any size with sides of 8k + 1, one at a time. Before the folder appears, the logits of the export are
    compared with those of `model` at three sizes.

    Args:
        size: the network's test size, height and width in pixels.
        output: a folder that doesn't exist yet.
        format: `onnx` or `openvino`.
        calibration: frames `[1, 3, H, W]` in [0, 1], each with its flow if the network needs it. If any are given, the
            convolutions' weights and activations become 8-bit integers, in ranges observed on these frames. For `openvino` only.
        described: further entries of `export.json`, as plain values.

    Raises UserError for an unknown format, an existing folder, a missing library and an export that disagrees with the
    network; the folder is then not created.
    """
    if format not in FILES:
        raise UserError(f"format={format}: choose from {', '.join(FILES)}")
    if calibration and format != "openvino":
        raise UserError(f"int8 is for format=openvino, not {format}")
    if output.exists():
        raise UserError(f"{output} already exists; give another output")
    model = portable(model)
    with new_folder(output) as draft:
        with torch.no_grad():
            _WRITERS[format](model, draft, calibration)
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
    """Read `number` frames, evenly spaced in as many sequences as possible, each with its optical flow if `flow` is given.

    All are `[1, 3, H, W]` in [0, 1], resized to `size`.
    """
    each = -(-number // len(dataset.sequences))
    positions = np.linspace(0, 1, each + 2)[1:-1]
    inputs: list[tuple[Tensor, ...]] = []
    for position, sequence in islice(product(positions, dataset.sequences), number):
        index = int(position * (len(sequence.frames) - 1))
        vectors = flow(sequence, index) if flow else None
        inputs.append(_encoder_input(read_frame(sequence.frames[index]), vectors, size))
    return inputs


def synthetic_inputs(number: int, size: tuple[int, int], flow: bool = False) -> list[tuple[Tensor, ...]]:
    """Draw the middle frames of `number` synthetic videos, always the same, as `calibration_inputs` reads frames."""
    inputs: list[tuple[Tensor, ...]] = []
    for seed in range(number):
        video = synthetic_video(np.random.default_rng(seed), 8, (240, 432))
        (before, _), (frame, _) = islice(video, 3, 5)
        inputs.append(_encoder_input(frame, OpticalFlow()(frame, before) if flow else None, size))
    return inputs


def _encoder_input(frame: Frame, flow: Vectors | None, size: tuple[int, int]) -> tuple[Tensor, ...]:
    given = [to_tensor(frame).float() / 255, *([] if flow is None else [to_flow_input(flow)])]
    return tuple(upsample(tensor[None], size) for tensor in given)


class _Embed(nn.Module):
    def __init__(self, model: ADNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor, flow: Tensor | None = None) -> tuple[Tensor, ...]:
        return _flat(self.model.encode(frames, flow))


class _Segment(nn.Module):
    def __init__(self, model: ADNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, anchor: Tensor, embedding: Tensor, *rest: Tensor) -> Tensor:
        motion = rest[-1] if self.model.needs_flow else None
        return self.model.segment(anchor, Encoded(embedding, rest[: -1 if self.model.needs_flow else None], motion))


def _flat(encoded: Encoded) -> tuple[Tensor, ...]:
    return (encoded.embedding, *encoded.shallow, *(() if encoded.motion is None else (encoded.motion,)))


def _parts(model: ADNet) -> list[tuple[nn.Module, tuple[Tensor, ...], list[str]]]:
    """Return encoder and fusion, each with an example input and the names of its arguments; a baseline has no fusion."""
    frames = torch.rand(1, 3, 65, 113)
    inputs, names = ((frames, frames.clone()), ["frames", "flow"]) if model.needs_flow else ((frames,), ["frames"])
    parts: list[tuple[nn.Module, tuple[Tensor, ...], list[str]]] = [(_Embed(model).eval(), inputs, names)]
    if model.branches or model.decoder is not None:
        with torch.no_grad():
            # The same tensor given twice would be exported as one input.
            encoded = tuple(tensor.clone() for tensor in _flat(model.encode(*inputs)))
        between = ["embedding", *(f"shallow{index}" for index in range(len(encoded) - 1 - model.needs_flow))]
        names = ["anchor", *between, *["motion"] * model.needs_flow]
        parts.append((_Segment(model).eval(), (encoded[0].clone(), *encoded), names))
    return parts


def _programs(model: ADNet) -> list[tuple[torch.export.ExportedProgram, list[str]]]:
    dim = torch.export.Dim
    sides = {2: 8 * dim("h", min=2) + 1, 3: 8 * dim("w", min=2) + 1}
    grid = {2: dim.AUTO, 3: dim.AUTO}
    programs = []
    for part, example, names in _parts(model):
        shapes: Any = tuple((sides if "frames" in names else grid) for _ in example)
        if isinstance(part, _Segment) and len(example) > 2:
            shapes = (*shapes[:2], shapes[2:])  # like its arguments: two and *rest
        programs.append((torch.export.export(part, example, dynamic_shapes=shapes), names))
    return programs


def _to_onnx(model: ADNet, folder: Path, _: Sequence[tuple[Tensor, ...]]) -> None:
    library("onnxscript", "onnx")
    translations: dict[Callable[..., Any], Callable[..., Any]] = {
        torch.ops.aten.scaled_dot_product_attention.default: _attention_in_blocks
    }
    for (program, names), name in zip(_programs(model), FILES["onnx"], strict=False):
        onnx: Any = torch.onnx.export(
            program, input_names=names, dynamo=True, verbose=False, custom_translation_table=translations
        )
        onnx.save(folder / name)


def _attention_in_blocks(query: Any, key: Any, value: Any) -> Any:
    """Add nodes that compute `softmax(Q K^T / sqrt(C)) V`, of `[B, 1, N, C]` each, a block of queries at a time.

    PyTorch's own translation has the whole N x N matrix in memory twice, and ONNX's Attention node, as ONNX Runtime 1.32
    runs it, once.
    """
    op = library("onnxscript", "onnx").opset18
    scaled = op.Transpose(op.Mul(key, key.shape[-1] ** -0.5), perm=[0, 1, 3, 2])
    number = op.Shape(query, start=2, end=3)
    ends = [op.Div(op.Mul(number, [block]), [_BLOCKS]) for block in range(_BLOCKS + 1)]
    blocks = [op.Slice(query, start, end, [2]) for start, end in pairwise(ends)]
    return op.Concat(*(op.MatMul(op.Softmax(op.MatMul(block, scaled)), value) for block in blocks), axis=2)


def _to_openvino(model: ADNet, folder: Path, calibration: Sequence[tuple[Tensor, ...]]) -> None:
    openvino = library("openvino", "openvino")
    for (part, example, names), name in zip(_parts(model), FILES["openvino"], strict=False):
        network = openvino.convert_model(part, example_input=example)
        for given, argument in zip(network.inputs, names, strict=True):
            given.get_tensor().set_names({argument})
        network.reshape(
            {argument: [1, tensor.shape[1], -1, -1] for argument, tensor in zip(names, example, strict=True)}
        )
        if calibration:
            network = _quantised(network, part, names, calibration)
        # The default would halve the file by rounding weights to 16 bits.
        openvino.save_model(network, folder / name, compress_to_fp16=False)


def _quantised(network: Any, part: nn.Module, names: Sequence[str], calibration: Sequence[tuple[Tensor, ...]]) -> Any:
    """Return `network`, which is `part`, with 8-bit convolutions; attention stays in float32."""
    nncf = library("nncf", "openvino")
    advanced = nncf.AdvancedQuantizationParameters(
        # Processors without VNNI sum 8-bit products in 16 bits, which 7-bit weights can't overflow.
        overflow_fix=nncf.OverflowFix.ENABLE
    )

    def given(inputs: tuple[Tensor, ...]) -> dict[str, Any]:
        if isinstance(part, _Segment):
            encoded = _flat(part.model.encode(*inputs))
            inputs = (encoded[0], *encoded)  # as for a video's first frame, which is its own anchor
        return {name: tensor.contiguous().numpy() for name, tensor in zip(names, inputs, strict=True)}

    return in_own_thread(
        lambda: nncf.quantize(
            network,
            nncf.Dataset(calibration, given),
            preset=nncf.QuantizationPreset.MIXED,  # LeakyReLU and linear bottlenecks have negative activations
            subset_size=len(calibration),
            advanced_parameters=advanced,
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
        )
    )


_WRITERS = {"onnx": _to_onnx, "openvino": _to_openvino}


def _check(model: ADNet, exported: ExportedModel, sizes: Sequence[tuple[int, int]], int8: bool) -> float:
    """Return the largest difference of logits over `sizes`, relative to the largest logit."""
    largest = 0.0
    for size in sizes:
        # Smooth, like photos: on noise, some networks compute a softmax over numbers so large that rounding decides.
        coarse = torch.rand(3, 3, 5, 8, generator=torch.Generator().manual_seed(0))
        anchor, frame, flow = upsample(coarse, size)[:, None]
        with torch.inference_mode():
            expected = model.segment(model.embed(anchor), model.encode(frame, flow))
            got = exported.segment(exported.embed(anchor), exported.encode(frame, flow))
        if got.shape != expected.shape:
            raise UserError(f"the export gives logits of shape {list(got.shape)}, the network {list(expected.shape)}")
        largest = max(largest, float((got - expected).abs().max() / expected.abs().max()))
    if not (int8 or largest < _TOLERANCE):
        raise UserError(
            f"the export's logits differ from the network's by {largest:.1e} of the largest; nothing was written"
        )
    return largest
