"""OpenVINO, in float32 or with 8-bit convolutions: converted and run by OpenVINO, quantised by NNCF."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from adnet.shared.machine import need_extra
from adnet.video.threads import FRAMES_IN_FLIGHT

SUFFIX, INT8, JOINS = "xml", "nncf", True

_CHANNELS_LAST = {"frames", "flow"}
"""Inputs that PyTorch stores channels-last, the layout that OpenVINO's convolutions prefer, too."""

Inputs = tuple[Tensor, ...]


def write(
    part: nn.Module,
    example: Inputs,
    names: Sequence[str],
    file: Path,
    calibration: Sequence[Inputs] = (),
    given: Callable[[Inputs], Inputs] = tuple,
) -> None:
    """Write a part of a network to `file`; `calibration` makes convolutions 8-bit, while attention stays in float32.

    `given` turns an item of `calibration` into the part's inputs. Raises UserError without the extra `openvino`.
    """
    openvino = _library("an OpenVINO export")
    network = openvino.convert_model(part, example_input=example)
    for entry, name in zip(network.inputs, names, strict=True):
        entry.get_tensor().set_names({name})
    network.reshape({name: [1, tensor.shape[1], -1, -1] for name, tensor in zip(names, example, strict=True)})
    if calibration:
        network = _quantised(network, names, calibration, given)
    # The default would halve the file by rounding weights to 16 bits.
    openvino.save_model(network, file, compress_to_fp16=False)


def _library(what: str) -> Any:
    need_extra("openvino", "openvino", what)
    # Through this package, OpenVINO's converter and NNCF report each use to an outside server; they also work without it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def _quantised(
    network: Any, names: Sequence[str], calibration: Sequence[Inputs], given: Callable[[Inputs], Inputs]
) -> Any:
    need_extra("openvino", INT8, "int8")
    nncf: Any = import_module("nncf")
    # Processors without VNNI sum 8-bit products in 16 bits, which 7-bit weights can't overflow.
    advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)

    def arrays(frames: tuple[Tensor, ...]) -> dict[str, Any]:
        return {name: tensor.contiguous().numpy() for name, tensor in zip(names, given(frames), strict=True)}

    return in_own_thread(
        lambda: nncf.quantize(
            network,
            nncf.Dataset(calibration, arrays),
            preset=nncf.QuantizationPreset.MIXED,  # LeakyReLU and linear bottlenecks have negative activations
            subset_size=len(calibration),
            advanced_parameters=advanced,
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
        )
    )


def open(*files: Path) -> Callable[..., Inputs]:  # noqa: A001 (as for any other file)
    """Open what `write` wrote as a function of its inputs; both files as one function of frames (and flow) and X_0.

    Raises UserError without the extra `openvino`.
    """
    openvino = _library("backend=openvino")
    core, compiling, threads = openvino.Core(), Lock(), torch.get_num_threads()
    streams = min(FRAMES_IN_FLIGHT, threads)
    options = {
        "NUM_STREAMS": streams,
        "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 if the processor has it
        "INFERENCE_NUM_THREADS": threads,
        # With pinned threads, two processes would share the first cores and leave the others idle.
        "ENABLE_CPU_PINNING": False,
    }

    @lru_cache(maxsize=8)
    def compiled(*shapes: tuple[int, ...]) -> tuple[SimpleQueue[Any], list[bool]]:
        """Compile for one size, which runs faster; return one request per stream, and which inputs are channels-last."""
        model, *rest = map(core.read_model, files)
        for fusion in rest:
            anchor, *encoded = fusion.get_parameters()
            for given, result in zip(encoded, model.get_results(), strict=True):
                given.output(0).replace(result.input_value(0))
            model = openvino.Model(fusion.get_results(), [*model.get_parameters(), anchor], "frame")
        model.reshape({given.any_name: list(shape) for given, shape in zip(model.inputs, shapes, strict=True)})
        names = [given.any_name for given in model.inputs]
        layouts = openvino.preprocess.PrePostProcessor(model)
        for name in _CHANNELS_LAST & {*names}:
            layouts.input(name).tensor().set_layout(openvino.Layout("NHWC"))
            layouts.input(name).model().set_layout(openvino.Layout("NCHW"))
        network = in_own_thread(lambda: core.compile_model(layouts.build(), "CPU", options))
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            requests.put(network.create_infer_request())
        return requests, [name in _CHANNELS_LAST for name in names]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        with compiling:
            requests, last = compiled(*(tuple(tensor.shape) for tensor in tensors))
        given = [tensor.permute(0, 2, 3, 1) if turned else tensor for tensor, turned in zip(tensors, last, strict=True)]
        request = requests.get()
        try:
            outputs = request.infer([tensor.contiguous().numpy() for tensor in given], share_inputs=True)
            return tuple(torch.from_numpy(array) for array in outputs.values())
        finally:
            requests.put(request)

    return run


def in_own_thread(function: Callable[[], Any]) -> Any:
    """Call `function` in a separate thread.

    In the thread where it compiles, OpenVINO leaves a signal stack too small for Python: SIGTERM would crash the main thread.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()
