"""The branches whose outputs are concatenated (Figure 2), by the name that a variant calls them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from adnet.models.attention import pixel_attention

BRANCHES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "skip": lambda anchor, current: current,
    "intra_frame": lambda anchor, current: pixel_attention(current, current),
    "anchor": lambda anchor, current: anchor,
    "anchor_diffusion": lambda anchor, current: pixel_attention(anchor, current),
    "cross": lambda anchor, current: pixel_attention(current, anchor),
}
"""(X_0, X_t) -> a branch's output, all `[B, C, h, w]`. In anchor diffusion the query is the anchor (Eq. 1 and 2); in
`cross`, which is not in the paper, it is the current frame, and X_0 may be of any size."""

VARIANTS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "intra": ("intra_frame", "skip"),
    "anchor": ("anchor", "skip"),
    "anchor_diffusion": ("anchor_diffusion", "skip"),
    "full": ("anchor_diffusion", "intra_frame", "skip"),
    "cross": ("cross", "skip"),
}
"""A variant's branches in the order of their concatenation (that of the published weights): the rows of Table 1, then
extensions."""
