"""A network that was exported, run by another library or by torch.export."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adnet.errors import UserError

FILES = {
    "onnx": ("embed.onnx", "segment.onnx"),
    "openvino": ("embed.xml", "segment.xml"),
    "torch": ("embed.pt2", "segment.pt2"),
}
"""Format -> files of the encoder and the fusion."""

METADATA = "export.json"


class ExportedModel:
    """What `adnet.inference.export_model` wrote, on the CPU; `VideoSegmenter` takes it as it takes an `ADNet`.

    Args:
        folder: of the export.

    Frames' sides must be 8k + 1. Raises UserError for a folder that holds no export, and where the library isn't installed.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path) -> None:
        self.metadata = read_metadata(folder)
        self.variant: str = self.metadata["variant"]
        self.needs_anchor: bool = self.metadata["needs_anchor"]
        self.takes_several_anchors: bool = self.metadata["takes_several_anchors"]
        files = [folder / name for name in FILES[self.metadata["format"]]]
        self._embed, self._segment = (
            _RUNNERS[self.metadata["format"]](file) if file.exists() else None for file in files
        )

    def embed(self, frames: Tensor) -> Tensor:
        """Frames `[B, 3, H, W]` in [0, 1] -> embeddings X `[B, C, h, w]`. Raises UserError for sides other than 8k + 1."""
        if any(side % 8 != 1 for side in frames.shape[-2:]):
            height, width = frames.shape[-2:]
            raise UserError(
                f"an exported network takes frames with sides of 8k + 1, not {height} x {width}: give such a size"
            )
        assert self._embed is not None
        return torch.cat([self._embed(frame[None]) for frame in frames])

    def segment(self, anchor_embedding: Tensor, embedding: Tensor) -> Tensor:
        """X_0 and X_t `[B, C, h, w]` -> logits `[B, 1, h, w]`; X_0 may have a batch of 1 for all frames."""
        if self._segment is None:
            return embedding
        anchors = anchor_embedding.expand(len(embedding), -1, -1, -1)
        return torch.cat([self._segment(X0[None], X[None]) for X0, X in zip(anchors, embedding, strict=True)])


def read_metadata(folder: Path) -> dict[str, Any]:
    """What `export.json` in an exported folder says. Raises UserError if there is none, or another program's."""
    try:
        metadata: dict[str, Any] = json.loads((folder / METADATA).read_text())
        known = metadata["format"] in FILES
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no exported network; python -m adnet.export writes one") from error
    if not known:
        raise UserError(f"{folder} is an export of format {metadata['format']!r}, which this version doesn't know")
    return metadata


def library(module: str, extra: str) -> Any:
    """An optional library. Raises UserError, with the extra that brings it, where it isn't installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module.partition('.')[0]} is not installed: pip install 'adnet[{extra}]'") from error


Runner = Callable[..., Tensor]


def _onnx(file: Path) -> Runner:
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning take the cores from whatever comes after the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*tensors: Tensor) -> Tensor:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def _openvino(file: Path) -> Runner:
    openvino = library("openvino", "openvino")
    core = openvino.Core()
    # Where the processor has bfloat16 the default is to compute in it.
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }

    @lru_cache(maxsize=8)
    def compiled(*shapes: tuple[int, ...]) -> Any:
        """For frames of one size, which runs faster than for any."""
        model = core.read_model(file)
        model.reshape({given.any_name: list(shape) for given, shape in zip(model.inputs, shapes, strict=True)})
        return in_own_thread(lambda: core.compile_model(model, "CPU", options))

    def run(*tensors: Tensor) -> Tensor:
        network = compiled(*(tuple(tensor.shape) for tensor in tensors))
        return torch.from_numpy(network([tensor.contiguous().numpy() for tensor in tensors])[0].copy())

    return run


def _torch(file: Path) -> Runner:
    run: Runner = torch.export.load(file).module()
    return run


_RUNNERS: dict[str, Callable[[Path], Runner]] = {"onnx": _onnx, "openvino": _openvino, "torch": _torch}


def in_own_thread(function: Callable[[], Any]) -> Any:
    """Call `function` in a thread that ends with it.

    OpenVINO leaves the thread in which it compiles a signal stack of its own, too small for Python's handlers: in the main
    thread, the next SIGTERM would be a segmentation fault.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
