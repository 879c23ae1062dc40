"""Compute a frame as in the published evaluation, to compare our speed with it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from adnet.models import BRANCHES, ADNet, Encoded
from adnet.models.depthwise import DepthwiseConv2d


class PublishedWay:
    """The weights of `model` in plain modules: batch norms not folded, NCHW order, an explicit softmax matrix.

    `embed` also computes the auxiliary head (with random weights if `model` has none) and ignores its result. To reproduce
    the published evaluation, call it for the anchor, too, at every frame.
    """

    def __init__(self, model: ADNet) -> None:
        self.model = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
        for conv in self.model.modules():
            if isinstance(conv, DepthwiseConv2d):
                conv.__class__ = nn.Conv2d  # type: ignore[assignment]
        self.device = model.device
        self.needs_flow = model.needs_flow
        self.aux = model.aux or nn.Sequential(
            nn.Conv2d(model.encoder.stage_channels[0], 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.LeakyReLU(0.01),
            nn.Conv2d(512, 1, 1),
        )
        self.aux.eval().to(model.device)

    def embed(self, frames: Tensor) -> Tensor:
        """Embed frames `[B, 3, H, W]` in [0, 1]: X `[B, C, h, w]`."""
        return self.encode(frames).embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Encode frames and their optical flow, both `[B, 3, H, W]`, for `segment`."""
        *shallow, middle, last = self.model.encoder.features(frames.contiguous())
        self.aux(middle)
        return self.model.with_motion(self.model.encoder.embed(last), shallow, frames, flow)

    def segment(self, anchor_embedding: Tensor, frame: Encoded) -> Tensor:
        """Compute logits `[B, 1, h, w]` from X_0 `[B, C, h, w]` and the encoded frame."""
        embedding = frame.embedding
        if not self.model.branches:
            return self.model.segment(embedding, frame)
        explicit = {
            "intra_frame": (embedding, embedding),
            "anchor_diffusion": (anchor_embedding, embedding),
            "cross": (embedding, anchor_embedding),
        }
        outputs = [
            _attention(*explicit[branch]) if branch in explicit else BRANCHES[branch].output(anchor_embedding, frame)
            for branch in self.model.branches
        ]
        logits: Tensor = self.model.head(torch.cat(outputs, dim=1))
        return logits if self.model.decoder is None else self.model.decoder(logits, frame.shallow)


def _attention(query: Tensor, key: Tensor) -> Tensor:
    rows, columns = query.flatten(2).transpose(1, 2), key.flatten(2)
    transition = torch.softmax(rows @ columns / query.shape[1] ** 0.5, dim=-1)
    return (transition @ columns.transpose(1, 2)).transpose(1, 2).reshape(query.shape)
