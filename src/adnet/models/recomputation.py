"""Activation checkpointing (Chen et al., arXiv:1604.06174), a residual block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from adnet.errors import UserError


def residual_blocks(backbone: nn.Module) -> list[nn.Module]:
    """Find what a backbone's stages are made of: the children of each module that has none but modules with parts of their own.

    Where such modules lie in one another, the innermost are taken.
    """
    found: list[nn.Module] = []
    for module in backbone.modules():
        children = list(module.children())
        if children and all(any(child.children()) and not isinstance(child, nn.Sequential) for child in children):
            found += children
    outer = {id(module) for block in found for module in backbone.modules() if block in list(module.modules())[1:]}
    return [block for block in found if id(block) not in outer]


def recompute_blocks(backbone: nn.Module) -> None:
    """Keep each block's input alone for the backward pass, which computes the block again: the same gradients for less memory.

    What is computed again is one block, not a whole stage, so that no more than one block's activations are there at a time.
    Running statistics of batch norms move once, in the first pass. Raises UserError for a backbone without blocks.
    """
    blocks = residual_blocks(backbone)
    if not blocks:
        raise UserError(
            "model.encoder.checkpoint_activations: this backbone has no residual blocks to compute again; set it to false"
        )
    for block in blocks:
        block.forward = _Recomputed(block)


def keep_blocks(backbone: nn.Module) -> None:
    """Undo `recompute_blocks`, where it was called."""
    for module in backbone.modules():
        if isinstance(module.forward, _Recomputed):
            del module.forward


def recomputes(backbone: nn.Module) -> bool:
    """Whether `recompute_blocks` was called for this backbone."""
    return any(isinstance(module.forward, _Recomputed) for module in backbone.modules())


class _Recomputed:
    """The forward pass of `block`, in place of its class's."""

    def __init__(self, block: nn.Module) -> None:
        self._block = block

    def __call__(self, *inputs: Tensor) -> Any:
        forward: Callable[..., Any] = type(self._block).forward.__get__(self._block)
        if not torch.is_grad_enabled():
            return forward(*inputs)
        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self) -> Any:
        return nullcontext(), _noted_elsewhere(self._block)


@contextmanager
def _noted_elsewhere(block: nn.Module) -> Iterator[None]:
    """Let batch norms move copies of their running statistics, which are thrown away."""
    before = [(norm, dict(norm._buffers)) for norm in block.modules() if isinstance(norm, _BatchNorm)]
    for norm, statistics in before:
        norm._buffers.update({name: None if value is None else value.clone() for name, value in statistics.items()})
    try:
        yield
    finally:
        for norm, statistics in before:
            norm._buffers.update(statistics)
