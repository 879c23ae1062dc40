from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from adnet.models import ADNet
from adnet.training.ddp import ddp_trainer


@pytest.fixture(params=["resnet10t", "tf_efficientnet_lite0"])
def model(request: pytest.FixtureRequest, tiny_model_config: dict[str, Any]) -> ADNet:
    """Whose batch norms have seen something."""
    tiny_model_config["encoder"]["backbone"] = request.param
    torch.manual_seed(0)
    model = ADNet.from_config(tiny_model_config)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.normal_(norm.bias, std=0.1)
    return model.eval()


def test_the_network_stays_the_same_there_and_back(model: ADNet) -> None:
    """By the plugin that a trainer has of us; in eval mode PyTorch's layer runs on a CPU, too."""
    options: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = ddp_trainer(accelerator="cpu", strategy="ddp", devices=2, sync_batchnorm=True, **options)
    layers: Any = trainer.strategy._layer_sync
    anchor, frame = torch.rand(2, 1, 3, 33, 49)
    kinds = {name: type(module) for name, module in model.named_modules()}
    before, keys = copy.deepcopy(model), list(model.state_dict())
    model.trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cuda")),
        datamodule=SimpleNamespace(device_batch_size=lambda *_: 4),
        world_size=2,
        accumulate_grad_batches=1,
    )
    with torch.inference_mode():
        expected = model(anchor, frame)

        synchronised = layers.apply(model)
        assert not [norm for norm in synchronised.modules() if isinstance(norm, nn.BatchNorm2d)]
        assert list(synchronised.state_dict()) == keys
        torch.testing.assert_close(synchronised(anchor, frame), expected)

        for norm in synchronised.modules():
            if isinstance(norm, nn.SyncBatchNorm):  # as training does
                norm.running_mean = norm.running_mean + 0.1
                norm.weight.mul_(1.1)
        learnt = synchronised(anchor, frame)
        back = layers.revert(synchronised)
        assert {name: type(module) for name, module in back.named_modules()} == kinds
        assert not back.training
        torch.testing.assert_close(back(anchor, frame), learnt)
        before.load_state_dict(back.state_dict())
        torch.testing.assert_close(before(anchor, frame), learnt)
    assert (learnt - expected).abs().max() > 1e-3
