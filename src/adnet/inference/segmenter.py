"""Segmentation of a video frame by frame, with the anchor embedded once (Section 4, Inference)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adnet.data.pairs import to_tensor
from adnet.data.sequence import Frame
from adnet.errors import UserError
from adnet.inference.gate import gate
from adnet.models import ADNet, upsample

_CHOICES = {"average": ("probability", "logits"), "resize": ("aligned", "opencv"), "anchors": ("first", "previous")}


@dataclass(frozen=True)
class Protocol:
    """How a frame is tested.

    Args:
        name: names the evaluation's folder.
        scales: of the test size.
        mirror: test mirrored, too.
        threshold: where the resulting probability is cut.
        average: over scales and mirror, of the `probability` (the paper) or of the `logits` (the published code).
        gate: see `adnet.inference.gate`; for averaged logits only.
        resize: of frames to the test size: `aligned` (bilinear with aligned corners, as inside the network) or `opencv`
            (bilinear on 8-bit values with half-pixel centres, the published code).
        anchors: `first` (the paper), `previous` (the frame before), or both for a variant that takes several.

    Raises UserError for an unknown choice, and for a gate on probabilities.
    """

    name: str
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    threshold: float = 0.5
    average: str = "probability"
    gate: bool = False
    resize: str = "aligned"
    anchors: tuple[str, ...] = ("first",)

    def __post_init__(self) -> None:
        given = {"average": [self.average], "resize": [self.resize], "anchors": list(self.anchors)}
        for field, values in given.items():
            if not values or not set(values) <= set(_CHOICES[field]):
                raise UserError(
                    f"protocol.{field} is {getattr(self, field)!r}; choose from {', '.join(_CHOICES[field])}"
                )
        if self.gate and self.average != "logits":
            raise UserError("protocol.gate works on averaged logits: set protocol.average=logits")

    @property
    def stateful(self) -> bool:
        """Whether a result depends on the frames before, so that a video must be gone through from its start."""
        return self.gate or "previous" in self.anchors


class VideoSegmenter:
    """`start(anchor_frame)` once a video, then `step(frame)` for each frame of it.

    Args:
        model: on its device; set to eval mode here.
        protocol: see there.
        size: height and width in pixels that frames are resized to at scale 1.

    Raises UserError for several anchors with a variant that takes one.
    """

    def __init__(self, model: ADNet, protocol: Protocol, size: tuple[int, int]) -> None:
        if len(protocol.anchors) > 1 and not model.takes_several_anchors:
            raise UserError(
                f"the variant {model.variant!r} takes one anchor, not {len(protocol.anchors)}: set protocol.anchors=[first]"
            )
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.protocol = protocol
        self.sizes = [scaled_size(size, scale) for scale in protocol.scales]
        self._first: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._previous_mask: npt.NDArray[np.bool_] | None = None

    @torch.inference_mode()
    def start(self, anchor: Frame) -> None:
        """Embed the anchor, RGB uint8 `[H, W, 3]`, once for each scale and mirror."""
        self._first = [self.model.embed(view) for view in self._views(anchor)] if self.model.needs_anchor else []
        self._previous, self._previous_mask = self._first, None

    @torch.inference_mode()
    def step(self, frame: Frame) -> npt.NDArray[np.float32]:
        """RGB uint8 `[H, W, 3]` -> probability of the foreground, float32 `[H, W]`: the mean over scales and mirror."""
        if self.model.needs_anchor and not self._first:
            raise UserError("no anchor yet: call start(anchor_frame) before step(frame)")
        size = (frame.shape[0], frame.shape[1])
        embeddings = [self.model.embed(view) for view in self._views(frame)]
        maps = [upsample(self.model.segment(self._anchor(i, X), X), size)[0, 0] for i, X in enumerate(embeddings)]
        if self.protocol.mirror:
            maps[1::2] = [mirrored.flip(-1) for mirrored in maps[1::2]]
        self._previous = embeddings
        if self.protocol.average == "probability":
            return torch.stack(maps).sigmoid().mean(0).cpu().numpy()
        logits = torch.stack(maps).mean(0)
        mask = (logits.sigmoid() > self.protocol.threshold).cpu().numpy()
        if self.protocol.gate:
            logits = torch.from_numpy(gate(logits.cpu().numpy(), self._previous_mask))
        self._previous_mask = mask
        return logits.sigmoid().cpu().numpy()

    def _anchor(self, index: int, embedding: Tensor) -> Tensor:
        """X_0 of one view; several anchors lie one below the other, since attention doesn't ask for a grid."""
        if not self.model.needs_anchor:
            return embedding
        known = {"first": self._first, "previous": self._previous}
        return torch.cat([known[anchor][index] for anchor in self.protocol.anchors], dim=2)

    def _views(self, frame: Frame) -> list[Tensor]:
        device = next(self.model.parameters()).device
        resized = [self._resized(frame, size, device) for size in self.sizes]
        views = [view for image in resized for view in ((image, image.flip(-1)) if self.protocol.mirror else (image,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _resized(self, frame: Frame, size: tuple[int, int], device: torch.device) -> Tensor:
        if self.protocol.resize == "opencv":
            frame = np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        whole = to_tensor(frame).to(device)[None].float() / 255
        return upsample(whole, size)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """`size` times `scale`, down to the next 8k + 1: with aligned corners a stride-8 grid then meets pixels exactly.

    The published evaluation does so: 857x481 becomes 641x353 at 0.75 and 1281x721 at 1.5.
    """
    height, width = ((int(side * scale) - 1) // 8 * 8 + 1 for side in size)
    return height, width
