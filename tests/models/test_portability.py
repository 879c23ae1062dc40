"""What else must run the networks: compilers, exporters, other precisions, many devices."""

import copy
import shutil

import pytest
import torch
from torch import nn

from adnet.models import ADNet, DeepLabV3

ANCHOR, FRAME = torch.rand(2, 1, 3, 33, 49, generator=torch.Generator().manual_seed(0))
VARIANTS = ["baseline", "full", "cross"]


def tiny(variant="full", **options):
    torch.manual_seed(0)
    options = {"pretrained": False, "aspp_rates": (1, 2), "aspp_channels": 8} | options
    return ADNet(
        DeepLabV3("test_resnet", embedding_channels=1 if variant == "baseline" else 8, **options),
        variant,
        head_channels=8,
    )


@pytest.mark.nightly  # test_on_gpu.py has the whole of the full variant's training step compiled
@pytest.mark.parametrize("variant", VARIANTS)
def test_compiles_without_a_graph_break_forward_and_backward(variant):
    model = tiny(variant)
    expected = tiny(variant)
    for net in (model, expected):
        for module in net.modules():
            if isinstance(module, nn.Dropout2d):
                module.p = 0.0
    # A batch norm over pooled features needs some frames for its gradients to mean anything.
    anchors, frames = torch.rand(2, 6, 3, 33, 49, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for net in (compiled, expected):
        net(anchors, frames).square().mean().backward()
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(
                ours.grad, theirs.grad, rtol=0, atol=1e-3 * float(theirs.grad.abs().max()) + 1e-6
            )


@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiles_with_the_default_backend():
    model = tiny().eval()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model)(ANCHOR, FRAME), model(ANCHOR, FRAME), atol=1e-4, rtol=1e-4)


class _Head(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, anchor_embedding, embedding):
        return self.model.segment(anchor_embedding, embedding)


def test_encoder_and_head_export_apart():
    model = tiny().eval()
    with torch.no_grad():
        X_0, X_t = model.embed(ANCHOR), model.embed(FRAME)
        encoder = torch.export.export(model.encoder, (FRAME,)).module()
        head = torch.export.export(_Head(model), (X_0, X_t)).module()
        torch.testing.assert_close(head(encoder(ANCHOR), encoder(FRAME)), model(ANCHOR, FRAME))


@pytest.mark.parametrize("variant", VARIANTS)
def test_channels_last_makes_no_difference(variant):
    model = tiny(variant).eval()
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    frames = [frame.contiguous(memory_format=torch.channels_last) for frame in (ANCHOR, FRAME)]
    with torch.no_grad():
        torch.testing.assert_close(other(*frames), model(ANCHOR, FRAME), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_autocast_is_near(variant):
    model = tiny(variant).eval()
    with torch.no_grad():
        expected = model(ANCHOR, FRAME)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ANCHOR, FRAME)
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - expected).abs().max() < 0.05 * max(1, expected.abs().max())


def test_bfloat16_autocast_trains():
    model = tiny()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(ANCHOR, FRAME).float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_every_batch_norm_of_the_published_network_is_synchronised():
    with torch.device("meta"):
        encoder = DeepLabV3("resnet50s", False, multi_grid=(1, 2, 4))
        model = ADNet(encoder, "full", aux_weight=0.4)
    before = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    keys = list(model.state_dict())
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)] == before
    assert not [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert list(model.state_dict()) == keys
