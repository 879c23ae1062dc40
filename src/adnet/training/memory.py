"""Estimate the memory of a training step without computing it, and find settings that need less."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from adnet.models import ADNet
from adnet.models.recomputation import keep_blocks, recompute_blocks, recomputes, residual_blocks
from adnet.training.loss import Loss, total
from adnet.training.module import batch_loss

GIB = 2**30
USABLE = 0.9
"""The share of a device's memory to plan with. cuDNN's workspaces and the allocator's gaps, which cannot be counted, need the rest."""

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}


@dataclass(frozen=True)
class StepSettings:
    """What the memory of a step depends on, besides the network and the crop size. `pairs`: per forward pass."""

    precision: str
    recomputed: bool
    pairs: int

    def overrides(self, before: StepSettings, accumulated: int) -> str:
        """Return what to add to a command line with setting `before` and `accumulated` batches to get this setting."""
        overrides = {
            f"trainer.precision={self.precision}": self.precision != before.precision,
            "model.encoder.checkpoint_activations=true": self.recomputed != before.recomputed,
            f"trainer.accumulate_grad_batches={accumulated * before.pairs // self.pairs}": self.pairs != before.pairs,
        }
        return " ".join(override for override, needed in overrides.items() if needed)


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step takes on a device."""

    weights: int
    """parameters and buffers, and their running average if there is one"""
    gradients: int
    """of the parameters, and DDP's buffers for sending them"""
    optimizer: int
    """state of the optimiser"""
    activations: int
    """tensors that the forward pass keeps for the backward pass"""
    working: int
    """of the backward pass: two gradients of the largest kept tensor and, if blocks are recomputed, all that one block keeps"""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.working

    def __str__(self) -> str:
        fixed = self.weights + self.gradients + self.optimizer
        return (
            f"{self.total / GIB:.1f} GiB a step: {self.activations / GIB:.1f} of activations, {self.working / GIB:.1f} to work in, "
            f"{fixed / GIB:.1f} of weights, gradients and the optimiser's state"
        )


class TrainingMemory:
    """Estimate the memory of a training step in any setting, on the meta device: this needs neither memory nor a GPU.

    Args:
        model: the network; a copy without values is kept.
        loss: the loss of logits and masks.
        optimizer: parameters -> optimiser.
        crop: height and width of the frames, in pixels.
        copies: number of copies of the weights (2 if they are averaged) and of the gradients (2 with several devices).
    """

    def __init__(
        self,
        model: ADNet,
        loss: Loss,
        optimizer: Callable[[list[nn.Parameter]], Optimizer],
        crop: tuple[int, int],
        copies: tuple[int, int] = (1, 1),
    ) -> None:
        self._model = copy.deepcopy(model).to("meta").train()
        self._loss = loss
        if isinstance(optimizer, partial) and "fused" in optimizer.keywords:
            optimizer = partial(optimizer, fused=False)  # fused kernels refuse the meta device; their state is the same
        self._optimizer = optimizer
        self._crop = crop
        self._copies = copies
        self.recomputed = recomputes(model.encoder.backbone)

    def of(self, setting: StepSettings) -> StepMemory:
        """Count the bytes of a step in `setting`, with PyTorch's fused attention as on GPUs."""
        model = copy.deepcopy(self._model).to(_TRUE.get(setting.precision, torch.float32))
        backbones = [encoder.backbone for encoder in (model.encoder, model.motion) if encoder is not None]
        for backbone in backbones:
            keep_blocks(backbone)
        # The loss keeps the tensors alive, so that no storage is reused and counted once for two tensors.
        kept = _Kept([block for backbone in backbones for block in residual_blocks(backbone)])
        with kept:
            _loss = self._forward(model, setting)
        largest_block = 0
        if setting.recomputed:
            largest_block = max(kept.of_blocks, default=0)
            for backbone in backbones:
                recompute_blocks(backbone)
            kept = _Kept()
            with kept:
                _loss = self._forward(model, setting)
        parameters, buffers = list(model.parameters()), list(model.buffers())
        own = {_storage(tensor) for tensor in (*parameters, *buffers)}
        activations = [size for storage, size in kept.sizes.items() if storage not in own]
        weights, gradients = self._copies
        return StepMemory(
            weights=weights * (_bytes(parameters) + _bytes(buffers)),
            gradients=gradients * _bytes(parameters),
            optimizer=self._state(parameters),
            activations=sum(activations),
            working=2 * max(activations) + largest_block,
        )

    def smaller(self, setting: StepSettings, available: float) -> tuple[StepSettings, StepMemory] | None:
        """Find the setting nearest to `setting` that takes less and fits into `available` bytes; None if there is none.

        Tries bf16, then checkpointing, which keep a batch together; then fewer pairs, at least the two that batch norm
        needs.
        """
        now = self.of(setting).total
        half = "bf16-mixed" if setting.precision == "32-true" else setting.precision
        fewer = (n for n in range(setting.pairs - 1, 1, -1) if setting.pairs % n == 0)
        for pairs in (setting.pairs, *fewer):
            for recomputed in dict.fromkeys([setting.recomputed, True]):
                for precision in dict.fromkeys([setting.precision, half]):
                    other = StepSettings(precision, recomputed, pairs)
                    if other != setting and (memory := self.of(other)).total < min(now, USABLE * available):
                        return other, memory
        return None

    def line(self, setting: StepSettings, accumulated: int, device: torch.device) -> str:
        """Describe what a step takes and, on a GPU, whether that fits; if not, which setting would."""
        memory = self.of(setting)
        if device.type != "cuda":
            return f"memory: {memory}"
        free, _ = torch.cuda.mem_get_info(device)
        line = f"memory: {memory}; {free / GIB:.1f} GiB are free"
        if memory.total <= USABLE * free:
            return line
        return f"{line}, which is too little: {self._advice(setting, accumulated, free)}"

    def out_of_memory(self, setting: StepSettings, accumulated: int, device: torch.device) -> str:
        """Say what to do after `device` ran out of memory."""
        total = self.of(setting).total
        if device.type != "cuda":
            what = f"{device.type} ran out of memory: a step takes about {total / GIB:.1f} GiB"
            return f"{what}: {self._advice(setting, accumulated, total)}"
        size = torch.cuda.mem_get_info(device)[1]
        what = f"the GPU ran out of memory: it has {size / GIB:.1f} GiB, and a step takes about {total / GIB:.1f}"
        return f"{what} (other processes may use it, too): {self._advice(setting, accumulated, size)}"

    def _advice(self, setting: StepSettings, accumulated: int, available: int) -> str:
        if (found := self.smaller(setting, available)) is None:
            tried = "no precision, checkpointing or accumulated batches would do"
            return f"{tried}: use more devices, or a smaller pairs.augmentation.crop_size"
        other, memory = found
        return f"{other.overrides(setting, accumulated)} takes about {memory.total / GIB:.1f}"

    def _forward(self, model: ADNet, setting: StepSettings) -> Tensor:
        frames = torch.empty(setting.pairs, 3, *self._crop, dtype=torch.uint8, device="meta")
        batch: Any = {"anchor": frames, "frame": frames.clone(), "mask": frames[:, 0].bool()}
        if model.needs_flow:
            batch["flow"] = frames.float()
        with _AsOnGPU(_MIXED.get(setting.precision)):
            return total(batch_loss(model, self._loss, batch))

    def _state(self, parameters: list[nn.Parameter]) -> int:
        optimizer = self._optimizer(parameters)
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        values = [value for state in optimizer.state.values() for value in state.values()]
        return _bytes([value for value in values if isinstance(value, Tensor)])


class _Kept(saved_tensors_hooks):
    """Record what a forward pass in this context keeps for the backward pass: bytes by storage, and bytes of each of `blocks`."""

    def __init__(self, blocks: Sequence[nn.Module] = ()) -> None:
        super().__init__(self._pack, lambda tensor: tensor)
        self.sizes: dict[int, int] = {}
        self.of_blocks: list[int] = []
        for block in blocks:
            block.register_forward_pre_hook(self._enter)
            block.register_forward_hook(self._leave)

    def _pack(self, tensor: Tensor) -> Tensor:
        self.sizes[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    def _enter(self, *_: Any) -> None:
        self._before = sum(self.sizes.values())

    def _leave(self, *_: Any) -> None:
        self.of_blocks.append(sum(self.sizes.values()) - self._before)


class _AsOnGPU(TorchFunctionMode):
    """Fused attention, which does not keep the matrix of all pixel pairs, and autocast: the meta device has neither."""

    def __init__(self, autocast: torch.dtype | None) -> None:
        super().__init__()
        self._autocast = autocast

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._autocast and func in (torch.conv2d, scaled_dot_product_attention):
            args = tuple(value.to(self._autocast) if isinstance(value, Tensor) else value for value in args)
        if func is scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_efficient_attention(*args, None, True)[0]
        return func(*args, **kwargs)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
