"""A network that was exported, run by another library."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adnet.data.flow import no_motion
from adnet.errors import UserError
from adnet.models import Encoded
from adnet.shared.files import sha256

FILES = {
    "onnx": ("embed.onnx", "segment.onnx"),
    "openvino": ("embed.xml", "segment.xml"),
}
"""Format -> files of the encoder and the fusion. (Not torch.export's: that is a pickle, and may run anyone's code.)"""

METADATA = "export.json"

_NEEDED = {"variant": str, "needs_anchor": bool, "takes_several_anchors": bool}
"""Entries of `export.json` that every export has, and their types."""


class ExportedModel:
    """What `adnet.inference.export_model` wrote, on the CPU; `VideoSegmenter` takes it as it takes an `ADNet`.

    Args:
        folder: of the export.

    Frames' sides must be 8k + 1. Raises UserError for a folder that holds no export or not all of one, file for file as it
    was written, and where the library isn't installed.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path) -> None:
        self.metadata = read_metadata(folder)
        self.variant: str = self.metadata["variant"]
        self.needs_anchor: bool = self.metadata["needs_anchor"]
        self.needs_flow: bool = self.metadata.get("needs_flow", False)
        self.takes_several_anchors: bool = self.metadata["takes_several_anchors"]
        _check_files(folder, self.metadata)
        run, (embed, segment) = _RUNNERS[self.metadata["format"]], FILES[self.metadata["format"]]
        self._embed = run(folder / embed)
        self._segment = run(folder / segment) if segment in self.metadata["sha256"] else None

    def embed(self, frames: Tensor) -> Tensor:
        """Frames `[B, 3, H, W]` in [0, 1] -> embeddings X `[B, C, h, w]`. Raises UserError for sides other than 8k + 1."""
        return self.encode(frames).embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Frames and their optical flow, `[B, 3, H, W]` in [0, 1] -> what `segment` takes; no flow is no motion.

        Raises UserError for sides other than 8k + 1.
        """
        if any(side % 8 != 1 for side in frames.shape[-2:]):
            height, width = frames.shape[-2:]
            raise UserError(
                f"an exported network takes frames with sides of 8k + 1, not {height} x {width}: give such a size"
            )
        inputs = (frames, no_motion(frames) if flow is None else flow) if self.needs_flow else (frames,)
        outputs = _one_by_one(self._embed, *inputs)
        motion = outputs.pop() if self.needs_flow else None
        return Encoded(outputs[0], tuple(outputs[1:]), motion)

    def segment(self, anchor_embedding: Tensor, frame: Encoded | Tensor) -> Tensor:
        """X_0 `[B, C, h, w]` and the encoded frame -> logits; X_0 may have a batch of 1 for all frames."""
        encoded = frame if isinstance(frame, Encoded) else Encoded(frame)
        if self._segment is None:
            return encoded.embedding
        anchors = anchor_embedding.expand(len(encoded.embedding), -1, -1, -1)
        motion = () if encoded.motion is None else (encoded.motion,)
        return _one_by_one(self._segment, anchors, encoded.embedding, *encoded.shallow, *motion)[0]


def read_metadata(folder: Path) -> dict[str, Any]:
    """What `export.json` in an exported folder says. Raises UserError if there is none, or another program's."""
    try:
        metadata: dict[str, Any] = json.loads((folder / METADATA).read_text())
        known = metadata["format"] in FILES
        if not all(isinstance(metadata[key], kind) for key, kind in _NEEDED.items()):
            raise ValueError("an entry is of another type")
        height, width = map(index, metadata["size"])
        if known and min(height, width) < 1:
            raise ValueError("its size is none")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no exported network; python -m adnet.export writes one") from error
    if not known:
        raise UserError(f"{folder} is an export of format {metadata['format']!r}, which this version doesn't know")
    return metadata


def _check_files(folder: Path, metadata: dict[str, Any]) -> None:
    """Raise UserError unless the files are those that were written: without its fusion an embedding passes for logits."""
    noted, again = metadata.get("sha256"), "remove the folder and export again (python -m adnet.export)"
    needed = FILES[metadata["format"]]
    if not isinstance(noted, dict) or needed[0] not in noted:
        raise UserError(f"{folder} was exported before {METADATA} listed an export's files: {again}")
    for name in (*noted, *needed):
        there = (folder / name).is_file()
        if name in noted and not there:
            raise UserError(f"the export in {folder} lacks {name}: {again}")
        if there and sha256(folder / name) != noted.get(name):
            raise UserError(f"{name} in {folder} is not what was exported: {again}")


def library(module: str, extra: str) -> Any:
    """An optional library. Raises UserError, with the extra that brings it, where it isn't installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module.partition('.')[0]} is not installed: pip install 'adnet[{extra}]'") from error


Runner = Callable[..., tuple[Tensor, ...]]


def _one_by_one(run: Runner, *inputs: Tensor) -> list[Tensor]:
    """Run a network that takes one frame at a time for each row of `inputs`; its outputs, each of all rows."""
    rows = [run(*(tensor[None] for tensor in row)) for row in zip(*inputs, strict=True)]
    return [torch.cat(column) for column in zip(*rows, strict=True)]


def _onnx(file: Path) -> Runner:
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning take the cores from whatever comes after the network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, arrays)))

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

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        network = compiled(*(tuple(tensor.shape) for tensor in tensors))
        outputs = network([tensor.contiguous().numpy() for tensor in tensors])
        return tuple(torch.from_numpy(outputs[index].copy()) for index in range(len(network.outputs)))

    return run


_RUNNERS: dict[str, Callable[[Path], Runner]] = {"onnx": _onnx, "openvino": _openvino}


def in_own_thread(function: Callable[[], Any]) -> Any:
    """Call `function` in a thread that ends with it.

    OpenVINO leaves the thread in which it compiles a signal stack of its own, too small for Python's handlers: in the main
    thread, the next SIGTERM would be a segmentation fault.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
