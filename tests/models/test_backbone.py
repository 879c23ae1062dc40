from __future__ import annotations

import torch
from torch import nn

from adnet.models import ADNet
from adnet.models.backbone import fold_batch_norms


def _with_statistics(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (norm.bias, norm.running_mean):
                nn.init.normal_(tensor)


def test_the_whole_network_keeps_its_logits(tiny_model: ADNet) -> None:
    _with_statistics(tiny_model)
    tiny_model.eval()
    anchor, frame = torch.rand(2, 1, 3, 65, 97)
    with torch.no_grad():
        expected = tiny_model(anchor, frame)
        assert fold_batch_norms(tiny_model, lambda: tiny_model(anchor, frame))
        torch.testing.assert_close(tiny_model(anchor, frame), expected, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tiny_model.modules())
    assert not tiny_model.training


def test_a_batch_norm_before_its_convolution_is_told() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))
    _with_statistics(module)
    frame = torch.rand(1, 3, 5, 5)
    assert not fold_batch_norms(module, lambda: module(frame))


def test_a_batch_norm_of_another_order_than_registered_is_told() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.norm(self.first(x)).relu())

    module = Odd()
    _with_statistics(module)
    frame = torch.rand(1, 3, 5, 5)
    assert not fold_batch_norms(module, lambda: module(frame))
