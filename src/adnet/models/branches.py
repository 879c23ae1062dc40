"""The branches whose outputs are concatenated (Figure 2), and the variants that combine them (Table 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from adnet.models.attention import pixel_attention


class Encoded(NamedTuple):
    """The current frame, encoded.

    `embedding` is X_t `[B, C, h, w]`; `shallow` holds the backbone's features at stride 4 and 2, for a decoder; `motion` is
    the embedding of the frame's optical flow, `[B, C, h, w]`, for a motion branch.
    """

    embedding: Tensor
    shallow: tuple[Tensor, ...] = ()
    motion: Any = None  # Tensor, where the variant has a motion branch


BRANCHES: dict[str, Callable[[Tensor, Encoded], Tensor]] = {
    "skip": lambda anchor, frame: frame.embedding,
    "intra_frame": lambda anchor, frame: pixel_attention(frame.embedding, frame.embedding),
    "anchor": lambda anchor, frame: anchor,
    "anchor_diffusion": lambda anchor, frame: pixel_attention(anchor, frame.embedding),
    "cross": lambda anchor, frame: pixel_attention(frame.embedding, anchor),
    "motion": lambda anchor, frame: frame.motion,
}
"""Branch -> function of X_0 `[B, C, h, w]` and the encoded frame; the output has the shape of X_t. Anchor diffusion queries
with the anchor (Eq. 1 and 2); `cross`, not in the paper, queries with the current frame, so that X_0 may be of any size."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "intra": ("intra_frame", "skip"),
    "anchor": ("anchor", "skip"),
    "anchor_diffusion": ("anchor_diffusion", "skip"),
    "full": ("anchor_diffusion", "intra_frame", "skip"),
    "cross": ("cross", "skip"),
    "motion": ("motion", "skip"),
    "full_motion": ("anchor_diffusion", "intra_frame", "motion", "skip"),
}
"""Variant -> branches, in the order in which the published weights concatenate them: the rows of Table 1, then extensions."""
