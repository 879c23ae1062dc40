"""Activation checkpointing (Chen et al., arXiv:1604.06174), one residual block at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from adnet.errors import UserError


def residual_blocks(backbone: nn.Module) -> list[nn.Module]:
    """Find the residual blocks of a backbone: the children of each module all of whose children have children themselves.

    Of nested matches only the innermost count. A child that is an `nn.Sequential` is a stage, not a block.
    """
    found: list[nn.Module] = []
    for module in backbone.modules():
        children = list(module.children())
        if children and all(any(child.children()) and not isinstance(child, nn.Sequential) for child in children):
            found += children
    outer = {id(module) for block in found for module in backbone.modules() if block in list(module.modules())[1:]}
    return [block for block in found if id(block) not in outer]


def recompute_blocks(backbone: nn.Module) -> None:
    """Keep only each block's input for the backward pass, which recomputes the block: the same gradients in less memory.

    The running statistics of batch norms are updated in the first pass only. Raises UserError for a backbone without residual
    blocks.
    """
    blocks = residual_blocks(backbone)
    if not blocks:
        raise UserError("no residual blocks to recompute: set model.encoder.checkpoint_activations=false")
    for block in blocks:
        block.forward = partial(_recomputed, block)  # shadows the method of its class


def keep_blocks(backbone: nn.Module) -> None:
    """Undo `recompute_blocks`, if it was called."""
    for module in backbone.modules():
        vars(module).pop("forward", None)


def recomputes(backbone: nn.Module) -> bool:
    """Return whether `recompute_blocks` was called for this backbone."""
    return any("forward" in vars(module) for module in backbone.modules())


def _recomputed(block: nn.Module, *inputs: Tensor) -> Any:
    forward: Callable[..., Any] = type(block).forward.__get__(block)
    if not torch.is_grad_enabled():
        return forward(*inputs)
    contexts = nullcontext(), _frozen_statistics(block)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=lambda: contexts)


@contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Let batch norms update copies of their running statistics, which are then discarded."""
    before = [(norm, dict(norm._buffers)) for norm in block.modules() if isinstance(norm, _BatchNorm)]
    for norm, statistics in before:
        norm._buffers.update({name: None if value is None else value.clone() for name, value in statistics.items()})
    try:
        yield
    finally:
        for norm, statistics in before:
            norm._buffers.update(statistics)
