"""Attention over pixels: the one operator behind the intra-frame and the anchor-diffusion branch."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def pixel_attention(query: Tensor, key: Tensor) -> Tensor:
    """`softmax(Q K^T / sqrt(C)) K` over pixels (Eq. 1 and 2), without the N x N matrix in memory.

    `query` and `key` are embeddings `[B, C, h, w]`, of sizes that may differ; the key is the value too. The result has
    the query's shape: its rows lie on the query's grid.
    """
    rows, columns = (embedding.flatten(2).transpose(1, 2) for embedding in (query, key))
    # Scaling by 1 / sqrt(C) is the default.
    diffused = scaled_dot_product_attention(rows, columns, columns)
    return diffused.transpose(1, 2).reshape(query.shape)
