"""The anchor diffusion network (Section 3, Figure 2)."""

from __future__ import annotations

from difflib import get_close_matches

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adnet.errors import UserError
from adnet.models.branches import BRANCHES, VARIANTS
from adnet.models.encoder import DeepLabV3


class ADNet(nn.Module):
    """Encoder, branches and fusion head. Frames are RGB in [0, 1], `[B, 3, H, W]`; the encoder normalises them.

    Args:
        encoder: frames -> embeddings `[B, C, h, w]` at stride 8.
        variant: a row of Table 1 (`baseline`, `intra`, `anchor`, `anchor_diffusion`, `full`) or an extension (`cross`). The
            baseline has no head: its encoder's one output channel is the logit.
        head_channels: width of the fusion head (128 in the paper).
        dropout: rate in the fusion head and the auxiliary one (0.1 in the paper).
        aux_weight: weight in the loss of an auxiliary head on the backbone's last stage but one; 0 (the paper) has none.

    Raises UserError for an unknown variant, and for a baseline whose encoder has more than one output channel.
    """

    def __init__(
        self,
        encoder: DeepLabV3,
        variant: str = "full",
        head_channels: int = 128,
        dropout: float = 0.1,
        aux_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            near = get_close_matches(variant, VARIANTS, n=1) or list(VARIANTS)
            raise UserError(f"unknown variant {variant!r}; did you mean {' or '.join(near)}?")
        self.encoder = encoder
        self.variant = variant
        self.branches = VARIANTS[variant]
        channels = encoder.embedding_channels
        self.head: nn.Module
        if self.branches:
            self.head = nn.Sequential(
                nn.Conv2d(len(self.branches) * channels, head_channels, 1, bias=False),
                nn.BatchNorm2d(head_channels),
                nn.LeakyReLU(0.01),
                nn.Dropout2d(dropout),
                nn.Conv2d(head_channels, 1, 1),
            )
        elif channels == 1:
            self.head = nn.Identity()
        else:
            raise UserError(
                f"the baseline's encoder ends in its one logit: set embedding_channels to 1, not {channels}"
            )
        self.aux_weight = aux_weight
        self.aux = _aux_head(encoder.stage_channels[-2], dropout) if aux_weight else None

    @property
    def needs_anchor(self) -> bool:
        """Whether the logits depend on the anchor at all."""
        return bool({"anchor", "anchor_diffusion", "cross"} & set(self.branches))

    @property
    def takes_several_anchors(self) -> bool:
        """Whether X_0 may be of any size, such as the embeddings of several anchors one below the other."""
        return self.needs_anchor and not {"anchor", "anchor_diffusion"} & set(self.branches)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def embed(self, frames: Tensor) -> Tensor:
        """Frames `[B, 3, H, W]` in [0, 1] -> embeddings X `[B, C, h, w]`."""
        embedding: Tensor = self.encoder(frames)
        return embedding

    def segment(self, anchor_embedding: Tensor, embedding: Tensor) -> Tensor:
        """X_0 and X_t `[B, C, h, w]` -> logits `[B, 1, h, w]`; X_0 may have a batch of 1 for all frames."""
        if not self.branches:
            return embedding
        anchor_embedding = anchor_embedding.expand(len(embedding), -1, -1, -1)
        outputs = [BRANCHES[branch](anchor_embedding, embedding) for branch in self.branches]
        logits: Tensor = self.head(torch.cat(outputs, dim=1))
        return logits

    def forward(self, anchor: Tensor, frame: Tensor) -> Tensor:
        """Anchor and frame `[B, 3, H, W]` -> logits `[B, 1, h, w]`, in one encoder pass over both."""
        if not self.needs_anchor:
            return self.segment(embedding := self.embed(frame), embedding)
        return self.segment(*self.embed(torch.cat([anchor, frame])).chunk(2))

    def forward_with_aux(self, anchor: Tensor, frame: Tensor) -> tuple[Tensor, Tensor | None]:
        """`forward`, and the auxiliary head's logits for the frame, `[B, 1, h, w]`; None where there is no such head."""
        if self.aux is None:
            return self(anchor, frame), None
        middle, last = self.encoder.features(torch.cat([anchor, frame]) if self.needs_anchor else frame)
        embeddings = self.encoder.embed(last)
        logits = self.segment(embeddings[: len(frame)], embeddings[-len(frame) :])
        return logits, self.aux(middle[-len(frame) :])


def _aux_head(channels: int, dropout: float) -> nn.Sequential:
    """Of the published code's shape: 3x3 to 512 channels, then 1x1."""
    return nn.Sequential(
        nn.Conv2d(channels, 512, 3, padding=1, bias=False),
        nn.BatchNorm2d(512),
        nn.LeakyReLU(0.01),
        nn.Dropout2d(dropout),
        nn.Conv2d(512, 1, 1),
    )


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners aligned as all resizing of the published code: `[B, K, h, w]` -> `[B, K, H, W]`."""
    return interpolate(logits, size, mode="bilinear", align_corners=True)
