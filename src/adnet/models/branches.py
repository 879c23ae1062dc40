"""The branches whose outputs are concatenated (Figure 2), and the variants that combine them (Table 1)."""

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


class Branch(NamedTuple):
    """A part of the fusion head's input, and what it is made from.

    `output` is a function of X_0 `[B, C, h, w]` and the encoded frame, whose output has the shape of X_t. `uses_anchor` and
    `uses_motion` say whether it depends on X_0 and on the embedding of the frame's flow; `any_grid`, whether X_0 may be of any
    size, such as the stacked embeddings of several anchors.
    """

    output: Callable[[Tensor, Encoded], Tensor]
    uses_anchor: bool = True
    any_grid: bool = False
    uses_motion: bool = False


BRANCHES: dict[str, Branch] = {
    "skip": Branch(lambda anchor, frame: frame.embedding, uses_anchor=False),
    "intra_frame": Branch(lambda anchor, frame: pixel_attention(frame.embedding, frame.embedding), uses_anchor=False),
    "anchor": Branch(lambda anchor, frame: anchor),
    "anchor_diffusion": Branch(lambda anchor, frame: pixel_attention(anchor, frame.embedding)),
    "cross": Branch(lambda anchor, frame: pixel_attention(frame.embedding, anchor), any_grid=True),
    "motion": Branch(lambda anchor, frame: frame.motion, uses_anchor=False, uses_motion=True),
}
"""Anchor diffusion queries with the anchor (Eq. 1 and 2); `cross`, not in the paper, queries with the current frame, so that X_0
may be of any size."""

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
