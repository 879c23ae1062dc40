"""The branches whose outputs are concatenated (Figure 2), by the name that a variant calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from adnet.models.attention import pixel_attention


class Encoded(NamedTuple):
    """What the branches and the head take of the current frame.

    `embedding` is X_t `[B, C, h, w]`; `shallow` the backbone's features at stride 4 and 2, for a decoder; `motion` the
    embedding of the frame's optical flow, `[B, C, h, w]`, for a motion branch.
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
"""(X_0, the encoded frame) -> a branch's output, `[B, C, h, w]` as X_0. In anchor diffusion the query is the anchor (Eq. 1 and
2); in `cross`, which is not in the paper, it is the current frame, and X_0 may be of any size."""

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
"""A variant's branches in the order of their concatenation (that of the published weights): the rows of Table 1, then
extensions. `motion` is the embedding of the frame's optical flow, which an encoder of its own computes."""
