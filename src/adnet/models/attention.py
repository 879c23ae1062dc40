"""Attention over pixels: the operator behind the intra-frame, anchor-diffusion and cross branches (Eq. 1 and 2)."""

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adnet.errors import UserError


def pixel_attention(query: Tensor, key: Tensor) -> Tensor:
    """Compute `softmax(Q K^T / sqrt(C)) K` over pixels (Eq. 1 and 2), without the N x N matrix in memory.

    `query` and `key` are embeddings `[B, C, h, w]`, whose h and w may differ; the key is also the value. The result has
    the query's shape and lies on the query's grid.
    """
    rows, columns = _pixels(query), _pixels(key)
    diffused = scaled_dot_product_attention(rows, columns, columns)  # scales by 1 / sqrt(C)
    return diffused.squeeze(1).transpose(1, 2).reshape(query.shape)


def similarity(anchor_embedding: Tensor, embedding: Tensor, points: Tensor) -> Tensor:
    """Compute rows of the transition matrix P (Eq. 2), for figures: a point's weight for each pixel of the current frame.

    Args:
        anchor_embedding: X_0, `[B, C, h_0, w_0]`.
        embedding: X_t, `[B, C, h, w]`.
        points: `[K, 2]` integers, row and column on the anchor's grid (pixel / 8 where the frame's sides are 8k + 1).

    Returns float32 `[B, K, h, w]`; each map is non-negative and sums to 1. For Figure 1, whose points lie in the current
    frame and whose heatmaps show the anchor, swap the embeddings. Raises UserError for a point off the grid.

    Examples:
        >>> import torch
        >>> X_0, X_t = torch.rand(2, 1, 128, 5, 8)
        >>> rows = similarity(X_0, X_t, torch.tensor([[2, 3]]))
        >>> rows.shape, round(rows.sum().item(), 4)
        (torch.Size([1, 1, 5, 8]), 1.0)
    """
    height, width = anchor_embedding.shape[-2:]
    for row, column in points.tolist():
        if not (0 <= row < height and 0 <= column < width):
            raise UserError(
                f"point ({row}, {column}) is off the grid of {height} x {width} embeddings; give row and column"
            )
    batch, channels = embedding.shape[:2]
    chosen = anchor_embedding[:, :, points[:, 0], points[:, 1]].float().transpose(1, 2)
    scores = chosen @ embedding.float().flatten(2) / channels**0.5
    return scores.softmax(dim=-1).reshape(batch, len(points), *embedding.shape[-2:])


def _pixels(embedding: Tensor) -> Tensor:
    """`[B, C, h, w]` -> `[B, 1, h * w, C]`: the memory-efficient kernels need a head dimension and contiguous channels."""
    return embedding.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
