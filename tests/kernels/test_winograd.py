"""The oracle is `nn.Conv2d` in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adnet.kernels import winograd
from adnet.kernels.winograd import WinogradConv2d


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the gain."""
    monkeypatch.setattr(winograd, "_WORTHWHILE", 0)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 23), st.integers(1, 23)),
    dilation=st.integers(1, 7),
    batch=st.integers(1, 2),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_equals_the_definition(
    size: tuple[int, int], dilation: int, batch: int, bias: bool, channels_last: bool
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(5, 3, 3, padding=dilation, dilation=dilation, bias=bias)
    frames = torch.randn(batch, 5, *size)
    if channels_last:
        frames = frames.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = copy.deepcopy(conv).double()(frames.double())
        WinogradConv2d.replace(conv, channels=1)
        assert type(conv) is WinogradConv2d
        got = conv(frames)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected.float(), rtol=0, atol=2e-5)


def test_uses_fewer_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = nn.Conv2d(6, 4, 3, padding=2, dilation=2)
    WinogradConv2d.replace(conv, channels=1)
    counted = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: (counted.append(a.numel() * b.shape[-1]), bmm(a, b))[1])
    with torch.inference_mode():
        conv(torch.rand(1, 6, 32, 48))
    assert counted == [32 * 48 * 6 * 4 * 9 / 4]


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 1),
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 4, 3, padding=1),
    ],
)
def test_other_convolutions_are_left_alone(conv: nn.Conv2d) -> None:
    module = nn.Sequential(conv)
    WinogradConv2d.replace(module, channels=8)
    assert type(module[0]) is nn.Conv2d


def test_gradients_and_other_types_take_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    usual = copy.deepcopy(conv)
    WinogradConv2d.replace(conv, channels=1)
    monkeypatch.setattr(torch, "bmm", None)
    frames = torch.rand(1, 4, 9, 9)
    assert torch.equal(conv(frames), usual(frames))
    with torch.inference_mode():
        assert torch.equal(conv.double()(frames.double()), usual.double()(frames.double()))


def test_a_gain_too_small_for_the_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dilation exceeds the frame only the centre tap counts, and Winograd's way would multiply more."""
    monkeypatch.undo()
    conv = nn.Conv2d(4, 4, 3, padding=36, dilation=36)
    usual = copy.deepcopy(conv)
    WinogradConv2d.replace(conv, channels=1)
    monkeypatch.setattr(torch, "bmm", None)
    with torch.inference_mode():
        frames = torch.rand(1, 4, 9, 9)
        assert torch.equal(conv(frames), usual(frames))


def test_it_is_one_operator_to_torch_compile() -> None:
    """By torch's own checks: traced, it has the shape and the layout that it has when it runs."""
    frames = torch.rand(2, 5, 13, 9).contiguous(memory_format=torch.channels_last)
    for bias in (torch.rand(3), None):
        torch.library.opcheck(winograd._convolve, (frames, torch.rand(3, 5, 3, 3), bias, 2, 4, 3))


def test_transformed_weights_go_with_their_convolution() -> None:
    before = len(winograd._transformed)
    conv = nn.Conv2d(4, 4, 3, padding=1)
    WinogradConv2d.replace(conv, channels=1)
    with torch.inference_mode():
        conv(torch.rand(1, 4, 9, 9))
        assert len(winograd._transformed) == before + 1
    del conv
    assert len(winograd._transformed) == before
