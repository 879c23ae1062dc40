"""The interface of a trained network, whichever library runs it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from adnet.models.branches import Encoded


class SegmentationModel(Protocol):
    """What `VideoSegmenter` needs of an `ADNet` or of a backend; `ADNet` documents the members."""

    @property
    def variant(self) -> str: ...

    @property
    def needs_anchor(self) -> bool: ...

    @property
    def needs_flow(self) -> bool: ...

    @property
    def takes_several_anchors(self) -> bool: ...

    @property
    def device(self) -> torch.device: ...

    def embed(self, frames: Tensor) -> Tensor: ...

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded: ...

    def segment(self, anchor_embedding: Tensor, frame: Encoded) -> Tensor: ...
