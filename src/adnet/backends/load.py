"""Load a network for PyTorch or for one of the libraries that run exported networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from adnet.backends.export import export_model
from adnet.backends.prepare import optimised
from adnet.backends.runtime import METADATA, ExportedModel, SegmentationModel, read_metadata
from adnet.errors import UserError
from adnet.models.checkpoint import load_checkpoint
from adnet.shared.files import cache_folder, files_sha256, sha256
from adnet.shared.machine import usable_device
from adnet.weights.pretrained import WEIGHTS, locate

BACKENDS = ("torch", "compile", "openvino", "onnx")


def load_backend(
    checkpoint: str | Path | None = None, backend: str = "torch", device: str | torch.device | None = None
) -> tuple[SegmentationModel, tuple[int, int]]:
    """Load a checkpoint's network, ready for `VideoSegmenter`, and its test size (height, width) in pixels.

    Args:
        checkpoint: as in `locate`; None: the released weights. Or a folder that `adnet.export` wrote (or its `export.json`),
            for that export's backend.
        backend: `torch` (see `adnet.backends.prepare`), `compile` (the same through torch.compile, once for each size of
            frames), `openvino` or `onnx` (on the CPU). The last two export a checkpoint on first use, into a folder beside
            it whose name ends in the checkpoint's hash; pretrained weights are exported into the user's cache.
        device: for `torch` and `compile`; None: CUDA if available.

    Raises UserError for an unknown backend, another device than the CPU for a backend that needs it, an export for another
    backend, and as `usable_device`, `load_checkpoint`, `ExportedModel` and `export_model` do.

    Examples:
        >>> model, size = load_backend(device="cpu")
        >>> model.needs_flow, size
        (True, (257, 449))
    """
    if backend not in BACKENDS:
        raise UserError(f"backend={backend}: choose from {', '.join(BACKENDS)}")
    path = locate(checkpoint)
    folder = path.parent if path.name == METADATA else path
    on_cpu = backend in ("openvino", "onnx")
    if on_cpu and not str(device or "cpu").startswith("cpu"):
        raise UserError(f"backend={backend} runs on the CPU: leave out device={device}, or take backend=torch")
    chosen = usable_device("cpu" if on_cpu else device)
    if folder.is_dir():
        found = read_metadata(folder)["format"]
        if found != backend:
            raise UserError(f"{folder} is an export for backend={found}, not {backend}")
        exported = ExportedModel(folder)
        return exported, (exported.metadata["size"][0], exported.metadata["size"][1])
    model, size = load_checkpoint(path)
    if on_cpu:
        described = describe(path)
        beside = cache_folder() / "backends" if path.name == WEIGHTS else path.parent
        cached = beside / f"{path.stem}-{backend}-{described['checkpoint_sha256'][:8]}"
        beside.mkdir(parents=True, exist_ok=True)
        if not cached.is_dir():
            # If several processes start at once, such as shards, one exports and the others wait for it.
            with FileLock(cached.with_name(f".{cached.name}.lock")):
                if not cached.is_dir():
                    export_model(model, size, cached, backend, described=described)
        return ExportedModel(cached), size
    return (_compiled if backend == "compile" else optimised)(model.to(chosen)), size


def describe(checkpoint: Path) -> dict[str, str]:
    """Describe a checkpoint for an export's metadata: its name and its hash."""
    return {"checkpoint": checkpoint.name, "checkpoint_sha256": checkpoint_sha256(checkpoint)}


def checkpoint_sha256(checkpoint: Path) -> str:
    """Hash a checkpoint's file, or all files of an export (given as its folder or `export.json`) or of pretrained weights."""
    folder = checkpoint.parent if checkpoint.name in (METADATA, WEIGHTS) else checkpoint
    return files_sha256(file for file in folder.iterdir() if file.is_file()) if folder.is_dir() else sha256(checkpoint)


def _compiled(model: Any) -> Any:
    model = optimised(model)
    # Freezing turns weights into constants, in oneDNN's memory layout.
    options: Any = {"freezing": True} if model.device.type == "cpu" else None
    model.encoder = torch.compile(model.encoder, options=options, dynamic=False)
    model.fixed_batch = True
    return model
