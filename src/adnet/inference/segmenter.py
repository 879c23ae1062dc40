"""Segmentation of a video frame by frame, with the anchor embedded once (Section 4, Inference)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from adnet.data.pairs import to_tensor
from adnet.data.sequence import Frame
from adnet.errors import UserError
from adnet.models import ADNet, upsample


@dataclass(frozen=True)
class Protocol:
    """How a frame is tested: at which scales of the test size, mirrored or not, and where the mean probability is cut."""

    name: str
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    threshold: float = 0.5


class VideoSegmenter:
    """`start(anchor_frame)` once a video, then `step(frame)` for each frame of it.

    Args:
        model: on its device; set to eval mode here.
        protocol: see there.
        size: height and width in pixels that frames are resized to at scale 1.
    """

    def __init__(self, model: ADNet, protocol: Protocol, size: tuple[int, int]) -> None:
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.protocol = protocol
        self.sizes = [scaled_size(size, scale) for scale in protocol.scales]
        self._anchors: list[Tensor] = []

    @torch.inference_mode()
    def start(self, anchor: Frame) -> None:
        """Embed the anchor, RGB uint8 `[H, W, 3]`, once for each scale and mirror."""
        self._anchors = [self.model.embed(view) for view in self._views(anchor)] if self.model.needs_anchor else []

    @torch.inference_mode()
    def step(self, frame: Frame) -> npt.NDArray[np.float32]:
        """RGB uint8 `[H, W, 3]` -> probability of the foreground, float32 `[H, W]`: the mean over scales and mirror."""
        if self.model.needs_anchor and not self._anchors:
            raise UserError("no anchor yet: call start(anchor_frame) before step(frame)")
        height, width = frame.shape[:2]
        total = torch.zeros(height, width)
        views = list(self._views(frame))
        for index, view in enumerate(views):
            embedding = self.model.embed(view)
            anchor = self._anchors[index] if self._anchors else embedding
            probability = upsample(self.model.segment(anchor, embedding), (height, width)).sigmoid()[0, 0]
            total += (probability.flip(-1) if self.protocol.mirror and index % 2 else probability).cpu()
        return (total / len(views)).numpy()

    def _views(self, frame: Frame) -> list[Tensor]:
        device = next(self.model.parameters()).device
        whole = to_tensor(frame).to(device)[None].float() / 255
        resized = [upsample(whole, size) for size in self.sizes]
        views = [view for image in resized for view in ((image, image.flip(-1)) if self.protocol.mirror else (image,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """`size` times `scale`, down to the next 8k + 1: with aligned corners a stride-8 grid then meets pixels exactly.

    The published evaluation does so: 857x481 becomes 641x353 at 0.75 and 1281x721 at 1.5.
    """
    height, width = ((int(side * scale) - 1) // 8 * 8 + 1 for side in size)
    return height, width
