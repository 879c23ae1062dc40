"""The anchor diffusion network (Section 3, Figure 2)."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adnet.data.flow import no_motion
from adnet.errors import UserError
from adnet.models.branches import BRANCHES, VARIANTS, Encoded
from adnet.models.decoder import Decoder
from adnet.models.encoder import DeepLabV3
from adnet.models.hub_methods import HubMethods
from adnet.models.warm_start import warm_start
from adnet.shared.value_types import Share


class ADNet(HubMethods, nn.Module):
    """Encoder, branches and fusion head. Frames are RGB in [0, 1], `[B, 3, H, W]`; the encoder normalises them.

    Args:
        encoder: frames -> embeddings `[B, C, h, w]` at stride 8.
        variant: a row of Table 1 (`baseline`, `intra`, `anchor`, `anchor_diffusion`, `full`) or an extension (`cross`,
            `motion`, `full_motion`). The baseline has no head: its encoder's one output channel is the logit.
        head_channels: width of the fusion head (128 in the paper).
        dropout: rate in the fusion head and the auxiliary one (0.1 in the paper).
        aux_weight: weight in the loss of an auxiliary head on the backbone's last stage but one; 0 (the paper) has none.
        decoder: a `Decoder` in place of the head's last layer (off in the paper); the encoder must be `shallow`.
        motion: optical flow as `adnet.data.flow` gives it, `[B, 3, H, W]` -> embeddings `[B, C, h, w]`, for a variant with a
            motion branch. Two-stream networks (Simonyan and Zisserman, arXiv:1406.2199) have one for each of the two as well.
        weights: a file whose weights the network begins with, as far as they fit; see `adnet.models.warm_start`.

    Raises UserError for an unknown variant, a baseline whose encoder has more than one output channel, a decoder without
    shallow features, and a motion encoder that the variant lacks or has no use for.

    Examples:
        >>> network = ADNet(DeepLabV3("resnet18", pretrained=False, aspp_channels=32), "full").eval()
        >>> anchor, frame = torch.rand(2, 1, 3, 33, 57)
        >>> network(anchor, frame).shape
        torch.Size([1, 1, 5, 8])
    """

    fixed_batch = False
    """Whether each number of frames costs time of its own, since the encoder was compiled."""

    def __init__(
        self,
        encoder: DeepLabV3,
        variant: str = "full",
        head_channels: PositiveInt = 128,
        dropout: Share = 0.1,
        aux_weight: NonNegativeFloat = 0.0,
        decoder: bool = False,
        motion: DeepLabV3 | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            near = get_close_matches(variant, VARIANTS, n=1) or list(VARIANTS)
            raise UserError(f"unknown variant {variant!r}; did you mean {' or '.join(near)}?")
        self.encoder = encoder
        self.variant = variant
        self.branches = VARIANTS[variant]
        self.motion = motion
        if self.needs_flow is not (motion is not None):
            raise UserError(f"the variant {variant!r} {'needs a' if self.needs_flow else 'has no'} motion encoder")
        channels = encoder.embedding_channels
        self.head: nn.Module
        if self.branches:
            self.head = nn.Sequential(
                nn.Conv2d(len(self.branches) * channels, head_channels, 1, bias=False),
                nn.BatchNorm2d(head_channels),
                nn.LeakyReLU(0.01),
                nn.Dropout2d(dropout),
                nn.Identity() if decoder else nn.Conv2d(head_channels, 1, 1),
            )
        elif channels == 1 or decoder:
            self.head = nn.Identity()
        else:
            raise UserError(
                f"the baseline's encoder ends in its one logit: set embedding_channels to 1, not {channels}"
            )
        if decoder and len(encoder.shallow_channels) != 2:
            raise UserError("a decoder takes the backbone's features at stride 4 and 2: set model.encoder.shallow=true")
        self.decoder = (
            Decoder(head_channels if self.branches else channels, encoder.shallow_channels) if decoder else None
        )
        self.head_channels = head_channels
        self.dropout = dropout
        self.aux_weight = aux_weight
        self.aux = _aux_head(encoder.stage_channels[-2], dropout) if aux_weight else None
        self.began_with = warm_start(self, self.branches, weights) if weights else None
        """What was taken from `weights`, and what was not, in one line."""

    @property
    def config(self) -> dict[str, Any]:
        """The plain values that `build_network` makes this network of again, with random weights."""
        return {
            "_target_": "adnet.models.ADNet",
            "encoder": self.encoder.config,
            "variant": self.variant,
            "head_channels": self.head_channels,
            "dropout": self.dropout,
            "aux_weight": self.aux_weight,
            "decoder": self.decoder is not None,
            "motion": None if self.motion is None else self.motion.config,
        }

    @property
    def needs_anchor(self) -> bool:
        """Whether the logits depend on the anchor at all."""
        return bool({"anchor", "anchor_diffusion", "cross"} & set(self.branches))

    @property
    def needs_flow(self) -> bool:
        """Whether the logits depend on the frame's optical flow."""
        return "motion" in self.branches

    @property
    def takes_several_anchors(self) -> bool:
        """Whether X_0 may be of any size, such as the embeddings of several anchors one below the other."""
        return self.needs_anchor and not {"anchor", "anchor_diffusion"} & set(self.branches)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of the frames that they take."""
        return next(self.parameters()).dtype

    def embed(self, frames: Tensor) -> Tensor:
        """Frames `[B, 3, H, W]` in [0, 1] -> embeddings X `[B, C, h, w]`: all that is kept of an anchor."""
        embedding: Tensor = self.encoder(frames)
        return embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Frames and their optical flow, `[B, 3, H, W]` in [0, 1] -> what `segment` takes; no flow is no motion."""
        *shallow, _, last = self.encoder.features(frames)
        return self.joined(self.encoder.embed(last), shallow, frames, flow)

    def joined(self, embedding: Tensor, shallow: list[Tensor], frames: Tensor, flow: Tensor | None) -> Encoded:
        """Join X_t, the backbone's features at stride 2 and 4, and the embedding of the flow, which is computed here."""
        motion = None
        if self.motion is not None:
            motion = self.motion(no_motion(frames) if flow is None else flow)
        return Encoded(embedding, tuple(shallow[::-1]) if self.decoder is not None else (), motion)

    def segment(self, anchor_embedding: Tensor, frame: Encoded | Tensor) -> Tensor:
        """X_0 `[B, C, h, w]` and the encoded frame -> logits `[B, 1, h, w]`, with a decoder `[B, 1, 4h - 3, 4w - 3]`.

        X_0 may have a batch of 1 for all frames. Where there is neither a decoder nor a motion branch, X_t alone will do.
        """
        encoded = frame if isinstance(frame, Encoded) else Encoded(frame)
        logits: Tensor = encoded.embedding
        if self.branches:
            anchor_embedding = anchor_embedding.expand(len(logits), -1, -1, -1)
            outputs = [BRANCHES[branch](anchor_embedding, encoded) for branch in self.branches]
            logits = self.head(torch.cat(outputs, dim=1))
        return logits if self.decoder is None else self.decoder(logits, encoded.shallow)

    def forward(self, anchor: Tensor, frame: Tensor, flow: Tensor | None = None) -> Tensor:
        """Anchor and frame `[B, 3, H, W]` -> logits as `segment` gives them, in one encoder pass over both."""
        return self.forward_with_aux(anchor, frame, flow)[0]

    def forward_with_aux(
        self, anchor: Tensor, frame: Tensor, flow: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`forward`, and the auxiliary head's logits for the frame, `[B, 1, h, w]`; None where there is no such head."""
        frames = torch.cat([anchor, frame]) if self.needs_anchor else frame
        *shallow, middle, last = self.encoder.features(frames)
        embeddings, number = self.encoder.embed(last), len(frame)
        encoded = self.joined(embeddings[-number:], [features[-number:] for features in shallow], frame, flow)
        logits = self.segment(embeddings[:number], encoded)
        return logits, None if self.aux is None else self.aux(middle[-number:])


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
