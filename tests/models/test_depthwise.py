from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from adnet.models.depthwise import DepthwiseConv2d, DepthwiseConv2dSame, PointwiseConv2d, with_fast_convolutions


def gradients(conv: nn.Module, x: Tensor, **autocast: Any) -> list[Tensor]:
    """The result, and the gradients of input, weights and bias."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(autocast)):
        out = conv(x)
        out.mul_(1)  # in place, as timm's activations
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype)
    (out * weights).sum().backward()
    return [out, *(tensor.grad for tensor in (x, *conv.parameters()))]  # type: ignore[list-item]


@pytest.mark.parametrize("size", [(17, 33), (18, 27), (20, 28), (5, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("conv", "kind"),
    [
        (lambda bias: nn.Conv2d(8, 6, 1, bias=bias), PointwiseConv2d),
        (lambda bias: nn.Conv2d(8, 6, 1, stride=2, bias=bias), nn.Conv2d),
        (lambda bias: nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=bias), DepthwiseConv2d),
        (lambda bias: nn.Conv2d(8, 8, 7, padding=3, groups=8, bias=bias), DepthwiseConv2d),
        (lambda bias: nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=bias), DepthwiseConv2d),
        (lambda bias: nn.Conv2d(8, 8, 5, padding=8, dilation=4, groups=8, bias=bias), DepthwiseConv2d),
        (lambda bias: Conv2dSame(8, 8, 3, stride=2, groups=8, bias=bias), DepthwiseConv2dSame),
        (lambda bias: Conv2dSame(8, 8, 5, stride=2, groups=8, bias=bias), DepthwiseConv2dSame),
        (lambda bias: nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=bias), nn.Conv2d),
        (lambda bias: nn.Conv2d(8, 8, 3, padding=2, groups=8, bias=bias), nn.Conv2d),
        (lambda bias: nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8, bias=bias), nn.Conv2d),
        (lambda bias: nn.Conv2d(8, 8, (3, 5), padding=(2, 2), dilation=(2, 1), groups=8, bias=bias), nn.Conv2d),
    ],
)
def test_a_fast_convolution_has_pytorchs_results_and_gradients(
    conv: Any, kind: type[nn.Module], bias: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    plain = conv(bias).double()
    fast = copy.deepcopy(plain)
    with_fast_convolutions(nn.Sequential(fast))
    assert type(fast) is kind
    x = torch.randn(3, 8, *size, dtype=torch.float64)
    for got, expected in zip(gradients(fast, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x))


def test_gradients_in_bfloat16_are_computed_in_float32() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 5, padding=2, groups=8)
    with_fast_convolutions(nn.Sequential(conv))
    x = torch.randn(6, 8, 17, 33)
    out, *found = gradients(conv, x.bfloat16(), enabled=True)
    assert out.dtype == torch.bfloat16
    rounded = F.conv2d(x.bfloat16().float(), conv.weight, conv.bias, 1, 2, 1, 8)
    torch.testing.assert_close(out, rounded.bfloat16())
    conv.zero_grad()
    _, *expected = gradients(conv, x.bfloat16().float())
    for got, exact in zip(found[1:], expected[1:], strict=True):
        assert got.dtype == torch.float32
        assert (got - exact).abs().max() < 4e-3 * exact.abs().max()  # the gradient of the result is rounded


@pytest.mark.parametrize("dilation", [1, 2])
def test_a_compiled_training_has_the_same_gradients(dilation: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3, padding=dilation, dilation=dilation, groups=8)
    with_fast_convolutions(nn.Sequential(conv))
    x, expected = torch.randn(2, 8, 9, 17), []
    for module in (conv, torch.compile(conv, backend="aot_eager", fullgraph=True)):
        conv.zero_grad()
        expected.append([tensor.clone() for tensor in gradients(module, x)])
    for got, plain in zip(*expected, strict=True):
        torch.testing.assert_close(got, plain)


def test_no_1x1_convolution_copies_its_input_for_a_product_of_matrices() -> None:
    conv = nn.Conv2d(16, 8, 1)
    with_fast_convolutions(nn.Sequential(conv))
    with torch.profiler.profile() as profile:
        conv(torch.rand(2, 16, 9, 9)).sum().backward()
    names = {event.name for event in profile.events()}
    assert "aten::mkldnn_convolution" in names
    assert not any("slow_conv2d" in name for name in names)


def test_weights_gradients_are_computed_for_three_columns_at_most() -> None:
    conv = nn.Conv2d(16, 16, 5, padding=2, groups=16)
    with_fast_convolutions(nn.Sequential(conv))
    with torch.profiler.profile(record_shapes=True) as profile:
        conv(torch.rand(2, 16, 9, 9)).sum().backward()
    backward = [event for event in profile.events() if event.name == "aten::convolution_backward"]
    assert backward
    assert all(event.input_shapes[2][3] <= 3 for event in backward)
