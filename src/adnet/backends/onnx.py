"""ONNX: written by PyTorch's exporter, run by ONNX Runtime."""

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adnet.shared.machine import need_extra
from adnet.video.threads import FRAMES_IN_FLIGHT

SUFFIX, INT8, JOINS = "onnx", "", False

_BLOCKS = 32
"""Number of blocks that a file splits attention's queries into: two `N / 32 x N` matrices at a time are in memory."""


def write(part: nn.Module, example: tuple[Tensor, ...], names: Sequence[str], file: Path) -> None:
    """Write a part of a network to `file`. Raises UserError without the extra `onnx`."""
    for module in ("onnx", "onnxscript"):
        need_extra("onnx", module, "an ONNX export")
    dim = torch.export.Dim
    sides, grid = {2: 8 * dim("h", min=2) + 1, 3: 8 * dim("w", min=2) + 1}, {2: dim.AUTO, 3: dim.AUTO}
    shapes: Any = tuple((sides if "frames" in names else grid) for _ in example)
    if "anchor" in names and len(example) > 2:
        shapes = (*shapes[:2], shapes[2:])  # like the arguments of the fusion: two and *rest
    program = torch.export.export(part, example, dynamic_shapes=shapes)
    translations: dict[Callable[..., Any], Callable[..., Any]] = {
        torch.ops.aten.scaled_dot_product_attention.default: _attention_in_blocks
    }
    onnx: Any = torch.onnx.export(
        program, input_names=list(names), dynamo=True, verbose=False, custom_translation_table=translations
    )
    onnx.save(file)


def _attention_in_blocks(query: Any, key: Any, value: Any) -> Any:
    """Add nodes that compute `softmax(Q K^T / sqrt(C)) V`, of `[B, 1, N, C]` each, a block of queries at a time.

    Otherwise the N x N matrix would be in memory: twice with PyTorch's translation, once with ONNX Runtime's Attention node.
    """
    op = import_module("onnxscript").opset18
    scaled = op.Transpose(op.Mul(key, key.shape[-1] ** -0.5), perm=[0, 1, 3, 2])
    number = op.Shape(query, start=2, end=3)
    ends = [op.Div(op.Mul(number, [block]), [_BLOCKS]) for block in range(_BLOCKS + 1)]
    blocks = [op.Slice(query, start, end, [2]) for start, end in pairwise(ends)]
    return op.Concat(*(op.MatMul(op.Softmax(op.MatMul(block, scaled)), value) for block in blocks), axis=2)


def open(file: Path) -> Callable[..., tuple[Tensor, ...]]:  # noqa: A001 (as for any other file)
    """Open what `write` wrote as a function of its inputs. Raises UserError without the extra `onnx`."""
    need_extra("onnx", "onnxruntime", "backend=onnx")
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads() // FRAMES_IN_FLIGHT)
    # Threads that spin while waiting would take cores from whatever runs after the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, arrays)))

    return run
