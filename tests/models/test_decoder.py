from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from adnet.models.decoder import ConcatenatedConv2d, upsample


def plainly(convolution: ConcatenatedConv2d, small: Tensor, large: Tensor) -> Tensor:
    joined = torch.cat([upsample(small, tuple(large.shape[-2:])), large], dim=1)
    return F.conv2d(joined, convolution.weight, convolution.bias, padding=1)


def gradients(
    compute: Callable[..., Tensor], convolution: ConcatenatedConv2d, *given: Tensor
) -> tuple[int, list[Tensor]]:
    """The operations of the forward pass; its result, and the gradients of weights and inputs."""
    inputs = [tensor.clone().requires_grad_() for tensor in given]
    with FlopCounterMode(display=False) as counter:
        out = compute(convolution, *inputs)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return counter.get_total_flops(), [out, *torch.autograd.grad((out * weights).sum(), [convolution.weight, *inputs])]


@pytest.mark.parametrize(
    ("sizes", "share"),
    [
        (((3, 4), (9, 13)), 0.6),
        (((5, 7), (17, 28)), 0.6),  # as at output stride 16, where sides are not 16k + 1
        (((1, 1), (4, 4)), 0.6),
        (((9, 13), (17, 25)), 1),  # no gain in this way
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_upsampled_features_is_the_plain_one(
    sizes: tuple[tuple[int, int], tuple[int, int]], share: float, bias: bool
) -> None:
    torch.manual_seed(0)
    small, large = torch.randn(2, 32, *sizes[0]).double(), torch.randn(2, 4, *sizes[1]).double()
    convolution = ConcatenatedConv2d(36, 16, 3, padding=1, bias=bias).double()
    operations, found = gradients(ConcatenatedConv2d.__call__, convolution, small, large)
    plain, expected = gradients(plainly, convolution, small, large)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted)
    assert operations <= share * plain
    with torch.inference_mode():
        torch.testing.assert_close(convolution(small, large), expected[0])


def test_exporters_see_the_plain_convolution() -> None:
    convolution = ConcatenatedConv2d(36, 16, 3, padding=1)
    given = torch.randn(1, 32, 3, 4), torch.randn(1, 4, 9, 13)
    traced = torch.jit.trace(convolution, given)
    assert "bmm" not in str(traced.graph)
    wider = torch.randn(1, 32, 5, 7), torch.randn(1, 4, 17, 25)
    torch.testing.assert_close(traced(*wider), convolution(*wider))
