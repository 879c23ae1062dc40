"""Run an exported network with another library."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from adnet.errors import UserError
from adnet.models import ADNet, Encoded
from adnet.models.adnet import no_motion
from adnet.shared.file_formats import read_document
from adnet.shared.files import sha256

FILES = {"onnx": ("embed.onnx", "segment.onnx"), "openvino": ("embed.xml", "segment.xml")}
"""Format -> files of the encoder and the fusion. (Without torch.export's format, a pickle that could run any code.)"""

METADATA = "export.json"

FRAMES_IN_FLIGHT = 2
"""How many threads may run a network at the same time on a CPU, each with its share of PyTorch's threads."""

_AGAIN = "remove the folder and export again (python -m adnet.export)"


class ExportedModel:
    """An export in `folder`, run on the CPU; `VideoSegmenter` takes it in place of an `ADNet`.

    Frames' sides must be 8k + 1. Raises UserError for a folder without an export or with missing or altered files, and if
    the library isn't installed.
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
        """Embed frames `[B, 3, H, W]` in [0, 1]: X `[B, C, h, w]`. Raises UserError for sides other than 8k + 1."""
        return self.encode(frames).embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Encode frames for `segment`, as `ADNet.encode` does. Raises UserError for sides other than 8k + 1."""
        height, width = frames.shape[-2:]
        if height % 8 != 1 or width % 8 != 1:
            raise UserError(f"an exported network needs frames with sides of 8k + 1, not {height} x {width}")
        inputs = (frames, no_motion(frames) if flow is None else flow) if self.needs_flow else (frames,)
        outputs = _one_by_one(self._embed, *inputs)
        motion = outputs.pop() if self.needs_flow else None
        return Encoded(outputs[0], tuple(outputs[1:]), motion)

    def segment(self, anchor_embedding: Tensor, frame: Encoded | Tensor) -> Tensor:
        """Compute logits from X_0 `[B, C, h, w]`, or `[1, C, h, w]` for all frames, and the encoded frame."""
        encoded = frame if isinstance(frame, Encoded) else Encoded(frame)
        if self._segment is None:
            return encoded.embedding
        anchors = anchor_embedding.expand(len(encoded.embedding), -1, -1, -1)
        motion = () if encoded.motion is None else (encoded.motion,)
        return _one_by_one(self._segment, anchors, encoded.embedding, *encoded.shallow, *motion)[0]


SegmentationModel = ADNet | ExportedModel
"""What segments videos: a network, or its export run by another library. `ADNet` documents the members."""


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read `export.json` in an exported folder. Raises UserError if it is missing or cannot be understood."""
    if not (folder / METADATA).is_file():
        raise UserError(f"{folder} holds no exported network; python -m adnet.export writes one")
    needs = ("format", "variant", "needs_anchor", "takes_several_anchors", "size")
    return read_document(folder / METADATA, "export", needs, _AGAIN)


def _check_files(folder: Path, metadata: dict[str, Any]) -> None:
    """Raise UserError for missing or altered files; without the fusion's file, an embedding would pass for logits."""
    noted = metadata.get("sha256")
    needed = FILES[metadata["format"]]
    if not noted or needed[0] not in noted:
        raise UserError(f"{folder} was exported before {METADATA} listed an export's files: {_AGAIN}")
    for name in (*noted, *needed):
        there = (folder / name).is_file()
        if name in noted and not there:
            raise UserError(f"the export in {folder} lacks {name}: {_AGAIN}")
        if there and sha256(folder / name) != noted.get(name):
            raise UserError(f"{name} in {folder} is not what was exported: {_AGAIN}")


def library(module: str, extra: str) -> Any:
    """Import an optional library. Raises UserError, naming the extra that installs it, if it is missing."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{module.partition('.')[0]} is not installed: pip install 'adnet[{extra}]'") from error


Runner = Callable[..., tuple[Tensor, ...]]


def _one_by_one(run: Runner, *inputs: Tensor) -> list[Tensor]:
    """Run a network of batch size 1 on each row of `inputs`, and concatenate its outputs."""
    rows = [run(*(tensor[None] for tensor in row)) for row in zip(*inputs, strict=True)]
    return [torch.cat(column) for column in zip(*rows, strict=True)]


def _onnx(file: Path) -> Runner:
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = max(1, torch.get_num_threads() // FRAMES_IN_FLIGHT)
    # Waiting threads that spin would take the cores from whatever runs after the network.
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
    # The default precision is bfloat16 if the processor has it.
    threads = torch.get_num_threads()
    streams = min(FRAMES_IN_FLIGHT, threads)
    options = {
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        # With pinned threads, two processes would share the first cores and leave the others idle.
        "ENABLE_CPU_PINNING": False,
    }

    compiling = Lock()

    @lru_cache(maxsize=8)
    def compiled(*shapes: tuple[int, ...]) -> SimpleQueue[Any]:
        """Compile for one size of frames, which runs faster than a network for any size; return a request for each stream."""
        model = core.read_model(file)
        model.reshape({given.any_name: list(shape) for given, shape in zip(model.inputs, shapes, strict=True)})
        network = in_own_thread(lambda: core.compile_model(model, "CPU", options))
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            requests.put(network.create_infer_request())
        return requests

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        with compiling:
            requests = compiled(*(tuple(tensor.shape) for tensor in tensors))
        request = requests.get()
        try:
            outputs = request.infer([tensor.contiguous().numpy() for tensor in tensors], share_inputs=True)
            return tuple(torch.from_numpy(array) for array in outputs.values())
        finally:
            requests.put(request)

    return run


_RUNNERS: dict[str, Callable[[Path], Runner]] = {"onnx": _onnx, "openvino": _openvino}


def in_own_thread(function: Callable[[], Any]) -> Any:
    """Call `function` in a thread of its own.

    OpenVINO replaces the signal stack of the thread in which it compiles by one too small for Python's handlers: in the
    main thread, the next SIGTERM would cause a segmentation fault.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
