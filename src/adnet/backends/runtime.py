"""What runs a network: a copy prepared for inference, or an export and the library that reads it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adnet.backends import onnx, openvino
from adnet.errors import UserError
from adnet.models import ADNet, Encoded
from adnet.models.adnet import no_motion
from adnet.models.backbone import fold_batch_norms
from adnet.shared.file_formats import read_document
from adnet.shared.files import sha256

FORMATS: dict[str, Any] = {"onnx": onnx, "openvino": openvino}
"""The export formats, each a module named like its extra, with the members that CONTRIBUTING.md lists.

torch.export's format is not included, because its files are pickles, which could run any code.
"""

METADATA = "export.json"

_AGAIN = "remove the folder and export again (python -m adnet.export)"


class DamagedExportError(UserError):
    """An export that is missing, cut off or altered."""


class ExportedModel:
    """An export in `folder`, run on the CPU in place of an `ADNet`, for frames with sides of 8k + 1.

    Raises DamagedExportError for a folder without an export or with missing or altered files, and UserError if the library
    isn't installed.
    """

    device = torch.device("cpu")

    def __init__(self, folder: Path) -> None:
        try:
            self.metadata = read_metadata(folder)
            _check_files(folder, self.metadata)
        except UserError as error:
            raise DamagedExportError(str(error)) from error
        self.variant: str = self.metadata["variant"]
        self.needs_anchor: bool = self.metadata["needs_anchor"]
        self.needs_flow: bool = self.metadata.get("needs_flow", False)
        self.takes_several_anchors: bool = self.metadata["takes_several_anchors"]
        form, files = FORMATS[self.metadata["format"]], files_of(self.metadata["format"])
        embed, *segment = (folder / name for name in files if name in self.metadata["sha256"])
        self._embed: Runner = form.open(embed)
        self._segment: Runner | None = form.open(*segment) if segment else None
        self._joined: Runner | None = form.open(embed, *segment) if segment and form.JOINS else None

    def embed(self, frames: Tensor) -> Tensor:
        """Embed frames `[B, 3, H, W]` in [0, 1]: X `[B, C, h, w]`. Raises UserError for sides other than 8k + 1."""
        return self.encode(frames).embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Encode frames for `segment`, as `ADNet.encode` does. Raises UserError for sides other than 8k + 1."""
        outputs = _one_by_one(self._embed, *self._inputs(frames, flow))
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

    def logits(self, anchor_embedding: Tensor | None, frames: Tensor, flow: Tensor | None = None) -> Tensor:
        """Compute logits as `ADNet.logits` does, in one network if `open` joins the files. Raises as `encode` does."""
        if self._joined is None or anchor_embedding is None:
            encoded = self.encode(frames, flow)
            return self.segment(encoded.embedding if anchor_embedding is None else anchor_embedding, encoded)
        anchors = anchor_embedding.expand(len(frames), -1, -1, -1)
        return _one_by_one(self._joined, *self._inputs(frames, flow), anchors)[0]

    def _inputs(self, frames: Tensor, flow: Tensor | None) -> tuple[Tensor, ...]:
        height, width = frames.shape[-2:]
        if height % 8 != 1 or width % 8 != 1:
            raise UserError(f"an exported network needs frames with sides of 8k + 1, not {height} x {width}")
        return (frames, no_motion(frames) if flow is None else flow) if self.needs_flow else (frames,)


SegmentationModel = ADNet | ExportedModel
"""What segments videos: a network, or its export run by another library. `ADNet` documents the members."""


def for_inference(model: ADNet) -> ADNet:
    """Copy `model` for inference, on its device, in eval mode: the same logits up to float32 rounding.

    The copy has no auxiliary head, batch norms folded into the convolutions before them, and channels-last weights.
    """
    model = copy.deepcopy(model).eval()
    model.aux = None
    folded = copy.deepcopy(model)
    frame = torch.rand(1, 3, 65, 65, device=model.device)
    if fold_batch_norms(folded, lambda: folded(frame, frame)):
        model = folded
    return model.requires_grad_(False).to(memory_format=torch.channels_last)


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read `export.json` in `folder`. Raises UserError if it is missing or cannot be understood."""
    if not (folder / METADATA).is_file():
        raise UserError(f"{folder} holds no exported network; python -m adnet.export writes one")
    needs = ("format", "variant", "needs_anchor", "takes_several_anchors", "size")
    metadata = read_document(folder / METADATA, "export", needs, _AGAIN)
    if metadata["format"] not in FORMATS:
        raise UserError(f"{folder} has the format {metadata['format']!r}, not one of {', '.join(FORMATS)}: {_AGAIN}")
    return metadata


def files_of(format: str) -> tuple[str, str]:  # noqa: A002 (the word that users know)
    """Name the files of encoder and fusion."""
    return f"embed.{FORMATS[format].SUFFIX}", f"segment.{FORMATS[format].SUFFIX}"


def _check_files(folder: Path, metadata: dict[str, Any]) -> None:
    """Raise UserError for missing or altered files; without the fusion's file, an embedding would pass for logits."""
    noted = metadata.get("sha256")
    needed = files_of(metadata["format"])
    if not noted or needed[0] not in noted:
        raise UserError(f"{folder} was exported before {METADATA} listed an export's files: {_AGAIN}")
    for name in (*noted, *needed):
        there = (folder / name).is_file()
        if name in noted and not there:
            raise UserError(f"the export in {folder} lacks {name}: {_AGAIN}")
        if there and sha256(folder / name) != noted.get(name):
            raise UserError(f"{name} in {folder} has changed since the export: {_AGAIN}")


Runner = Callable[..., tuple[Tensor, ...]]


def _one_by_one(run: Runner, *inputs: Tensor) -> list[Tensor]:
    """Run a network of batch size 1 on each row of `inputs`, and concatenate its outputs."""
    rows = [run(*(tensor[None] for tensor in row)) for row in zip(*inputs, strict=True)]
    return [torch.cat(column) for column in zip(*rows, strict=True)]
