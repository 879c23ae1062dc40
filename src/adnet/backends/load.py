"""Load a network for PyTorch or for one of the libraries that run exported networks."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from adnet import __version__
from adnet.backends.export import REVISION, export_model, synthetic_inputs
from adnet.backends.runtime import (
    FORMATS,
    METADATA,
    DamagedExportError,
    ExportedModel,
    SegmentationModel,
    for_inference,
    read_metadata,
)
from adnet.data.synthetic import VERSION
from adnet.errors import UserError
from adnet.models import ADNet
from adnet.models.checkpoint import load_checkpoint
from adnet.shared.files import cache_folder, files_sha256, remove, sha256
from adnet.shared.locks import one_at_a_time
from adnet.shared.machine import need_extra, usable_device
from adnet.weights.pretrained import WEIGHTS, locate

CALIBRATION_FRAMES = 60
"""Number of synthetic frames on which `openvino_int8` is calibrated."""

_COMPILED_SIZES = 64
"""Most frame sizes (of videos and scales) that `compile` compiles for in one process; PyTorch's own limit is 8."""


def on_cpu() -> list[str]:
    """List the backends that run exports, only on the CPU: each of `FORMATS`, and its int8 form if it has one."""
    return [name for form, module in FORMATS.items() for name in (form, *[f"{form}_int8"] * bool(module.INT8))]


def load_backend(
    checkpoint: str | Path | None = None, backend: str = "torch", device: str | torch.device | None = None
) -> tuple[SegmentationModel, tuple[int, int]]:
    """Load a checkpoint's network, ready for `VideoSegmenter`, and its test size (height, width) in pixels.

    Args:
        checkpoint: as in `locate`; None: the released weights. Or a folder that `adnet.export` wrote (or its `export.json`),
            for that export's backend.
        backend: `torch` (see `for_inference`), `compile` (the same, compiled once per frame size), or one of `on_cpu()`. The
            latter export a checkpoint on first use, beside it; pretrained weights, into the user's cache.
            `openvino_int8` is calibrated on `synthetic_inputs`; `adnet.export` can use other frames.
        device: for `torch` and `compile`; None: CUDA if available.

    Raises UserError for an unknown backend, `compile` on a CPU without a C++ compiler, a device other than the CPU for a
    backend that needs the CPU, an export for another backend, and for errors of loading and exporting.

    Examples:
        >>> model, size = load_backend(device="cpu")
        >>> model.needs_flow, size
        (True, (257, 449))
    """
    if backend not in (known := ["torch", "compile", *on_cpu()]):
        raise UserError(f"backend={backend}: choose from {', '.join(known)}")
    path = locate(checkpoint)
    folder = path.parent if path.name == METADATA else path
    runs_exports = backend in on_cpu()
    if runs_exports and not str(device or "cpu").startswith("cpu"):
        raise UserError(f"backend={backend} runs on the CPU: leave out device={device}, or use backend=torch")
    chosen = usable_device("cpu" if runs_exports else device)
    if folder.is_dir():
        metadata = read_metadata(folder)
        found, (height, width) = metadata["format"], metadata["size"]
        if backend != found and not (metadata.get("int8") and backend == f"{found}_int8"):
            raise UserError(f"{folder} is an export for backend={found}, not {backend}")
        return ExportedModel(folder), (height, width)
    model, size = load_checkpoint(path)
    if runs_exports:
        return _exported(model, size, path, backend), size
    return (_compiled if backend == "compile" else for_inference)(model.to(chosen)), size


def _exported(model: ADNet, size: tuple[int, int], checkpoint: Path, backend: str) -> ExportedModel:
    """Open the export of `model`, whose file is `checkpoint`, after making it if there is none yet or it is damaged."""
    described = describe(checkpoint)
    library, _, int8 = backend.partition("_")
    # The version and, for int8, the calibration set are part of the cache's name.
    made = f"{described['checkpoint_sha256'][:8]}-{__version__}r{REVISION}"
    made += f"-{CALIBRATION_FRAMES}v{VERSION}" if int8 else ""
    beside = cache_folder() / "backends" if checkpoint.name == WEIGHTS else checkpoint.parent
    cached = beside / f"{checkpoint.stem}-{backend}-{made}"
    with suppress(DamagedExportError):
        return ExportedModel(cached)
    # If several processes start at once, such as shards, one exports and the others wait for it.
    with one_at_a_time(cached.with_name(f".{cached.name}.lock")):
        with suppress(DamagedExportError):
            return ExportedModel(cached)
        if cached.is_dir():
            logging.getLogger(__name__).warning("%s is damaged: exporting anew", cached)
            remove([cached])
        frames = []
        if int8:
            need_extra(library, FORMATS[library].INT8, f"backend={backend}")
            frames = synthetic_inputs(CALIBRATION_FRAMES, size, model.needs_flow)
        return export_model(model, size, cached, library, frames, described)


def describe(checkpoint: Path) -> dict[str, str]:
    """Describe a checkpoint for an export's metadata: its name and its hash."""
    return {"checkpoint": checkpoint.name, "checkpoint_sha256": checkpoint_sha256(checkpoint)}


def checkpoint_sha256(checkpoint: Path) -> str:
    """Hash a checkpoint's file, or all files of an export (given as its folder or `export.json`) or of pretrained weights."""
    folder = checkpoint.parent if checkpoint.name in (METADATA, WEIGHTS) else checkpoint
    return files_sha256(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else sha256(checkpoint)


def _compiled(model: Any) -> Any:
    model = for_inference(model)
    # Compile only encode: it runs on every frame, and the fusion would be compiled for each batch size.
    model.encode = torch.compile(model.encode, dynamic=False)
    # By default, the ninth size of frames and all later ones would not be compiled at all.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILED_SIZES)
    if model.device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler  # slow to import

        try:
            get_cpp_compiler()
        except (RuntimeError, OSError) as error:
            raise UserError(
                "backend=compile needs a C++ compiler: install g++, set CXX or give backend=torch"
            ) from error
        # Freezing turns weights into constants, in oneDNN's memory layout. As an option of torch.compile, it comes too late.
        model.encode = torch._inductor.config.patch(freezing=True)(model.encode)
    model.fixed_batch = True
    return model
