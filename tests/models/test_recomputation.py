from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from adnet.errors import UserError
from adnet.models import ADNet, DeepLabV3
from adnet.models.backbone import create_backbone
from adnet.models.recomputation import recompute_blocks, recomputes, residual_blocks

ANCHOR, FRAME = torch.rand(2, 2, 3, 33, 57, generator=torch.Generator().manual_seed(0))


def network(backbone: str, recomputed: bool) -> ADNet:
    torch.manual_seed(0)
    encoder = DeepLabV3(backbone, False, 8, (1,), 8, 8, checkpoint_activations=recomputed)
    return ADNet(encoder, "full", head_channels=8)


@pytest.mark.parametrize("backbone", ["resnet10t", "tf_efficientnet_lite0"])
def test_a_step_is_the_same_running_statistics_and_all(backbone: str) -> None:
    plain, saving = (network(backbone, recomputed) for recomputed in (False, True))
    for model in (plain, saving):
        torch.manual_seed(1)  # dropout
        model(ANCHOR, FRAME).square().mean().backward()
    assert (recomputes(plain.encoder.backbone), recomputes(saving.encoder.backbone)) == (False, True)
    for (name, ours), theirs in zip(saving.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    for (name, ours), theirs in zip(saving.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs), name
    assert list(saving.state_dict()) == list(plain.state_dict())


def test_a_block_is_computed_twice_and_a_copy_computes_itself() -> None:
    model = network("test_resnet", True)
    calls: list[nn.Module] = []
    clone = copy.deepcopy(model)
    for net in (model, clone):
        for block in residual_blocks(net.encoder.backbone):
            block.conv1.register_forward_hook(lambda *_, block=block: calls.append(block))
    clone(ANCHOR, FRAME).mean().backward()
    blocks = residual_blocks(clone.encoder.backbone)
    assert [id(block) for block in calls] == [id(block) for block in (*blocks, *blocks[::-1])]
    calls.clear()
    with torch.inference_mode():
        clone.eval()(ANCHOR, FRAME)
    assert len(calls) == len(blocks)


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept(recomputed: bool) -> int:
        storages: dict[int, Tensor] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        model = network("test_resnet", recomputed)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.encoder.features(FRAME)
        return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())

    assert kept(True) < 0.6 * kept(False)


@pytest.mark.parametrize(
    ("backbone", "names"),
    [
        ("resnet10t", ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
        ("regnety_002", ["stem", "s1.b1", "s2.b1"]),
        ("mobilenetv3_small_050", ["blocks.0.0", "blocks.1.0", "blocks.1.1"]),
    ],
)
def test_blocks(backbone: str, names: list[str]) -> None:
    net = create_backbone(backbone, False, 8)
    known = {id(module): name for name, module in net.named_modules()}
    assert [known[id(block)] for block in residual_blocks(net)][: len(names)] == names


def test_a_backbone_without_blocks_is_refused() -> None:
    with pytest.raises(UserError, match="no residual blocks"):
        recompute_blocks(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
