"""Parameters and operations of a network."""

import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from adnet.models.adnet import ADNet


@dataclass(frozen=True)
class Cost:
    """`parameters`, and `gflops` for one frame, the anchor's embedding excluded (a multiply-add counts as two)."""

    parameters: int
    gflops: float
    size: tuple[int, int]

    def __str__(self) -> str:
        height, width = self.size
        return f"{self.parameters / 1e6:.1f} M parameters, {self.gflops:,.0f} GFLOPs for a frame of {height} x {width}"


def model_cost(model: ADNet, size: tuple[int, int]) -> Cost:
    """Count the cost of a frame of `size` (height, width) pixels, on the meta device: nothing is computed."""
    ghost = copy.deepcopy(model).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoded = ghost.encode(torch.empty(1, 3, *size, device="meta"))
        ghost.segment(encoded.embedding, encoded)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() / 1e9, size)
