from contextlib import nullcontext

import pytest
import timm
import torch
from torch import nn

from adnet.errors import UserError
from adnet.models import DeepLabV3
from adnet.models.backbone import create_backbone


def dilations(backbone, stage):
    """Of each block's 3x3 convolution in a stage."""
    blocks = getattr(backbone, f"layer{stage}")
    return [
        [conv.dilation[0] for conv in block.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)]
        for block in blocks
    ]


def test_multi_grid_dilates_every_block_from_the_first():
    backbone = create_backbone("resnet50s", False, 8, multi_grid=(1, 2, 4))
    assert dilations(backbone, 1) == [[1]] * 3
    assert dilations(backbone, 2) == [[1]] * 4
    assert dilations(backbone, 3) == [[2]] * 6
    assert dilations(backbone, 4) == [[4], [8], [16]]
    assert backbone.maxpool.ceil_mode
    plain = create_backbone("resnet50s", False, 8)
    assert dilations(plain, 4) == [[2], [4], [4]]
    assert not plain.maxpool.ceil_mode
    assert plain.state_dict().keys() == backbone.state_dict().keys()


def test_multi_grid_follows_the_output_stride():
    backbone = create_backbone("resnet50s", False, 16, multi_grid=(1, 2, 4))
    assert dilations(backbone, 3) == [[1]] * 6
    assert dilations(backbone, 4) == [[2], [4], [8]]


def test_grids_keep_their_size():
    encoder = DeepLabV3("resnet18", False, aspp_channels=8, embedding_channels=4, multi_grid=(1, 2)).eval()
    with torch.no_grad():
        assert encoder(torch.rand(1, 3, 65, 97)).shape == (1, 4, 9, 13)
        assert [tuple(stage.shape) for stage in encoder.features(torch.rand(1, 3, 65, 97))] == [
            (1, 256, 9, 13),
            (1, 512, 9, 13),
        ]


def test_multi_grid_must_fit_the_last_stage():
    with pytest.raises(UserError, match=r"3 factors for a last stage of 2 blocks.*null"):
        create_backbone("resnet18", False, 8, multi_grid=(1, 2, 4))


def test_first_stages_alone_give_what_they_give_in_the_whole():
    torch.manual_seed(0)
    whole = timm.create_model("tf_efficientnet_lite0", features_only=True, output_stride=8).eval()
    first = create_backbone("tf_efficientnet_lite0", False, 8, stages=4).eval()
    assert len(first.blocks) == 5
    first.load_state_dict({key: value for key, value in whole.state_dict().items() if key in first.state_dict()})
    frames = torch.rand(1, 3, 65, 65)
    with torch.no_grad():
        for ours, theirs in zip(first(frames), whole(frames)[2:4], strict=True):
            # Ours convolves dilated layers in another order, on a CPU.
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize(("stages", "message"), [(9, "stages=9: .* has fewer"), (2, "can't be dilated")])
def test_stages_must_be_there_and_reach_the_output_stride(stages, message):
    with pytest.raises(UserError, match=message):
        create_backbone("resnet18", False, 8, stages=stages)


def test_normalisation_is_timms_unless_given():
    frames, options = torch.rand(1, 3, 33, 33), {"aspp_channels": 8, "embedding_channels": 4}
    default = DeepLabV3("resnet10t", False, **options).eval()
    assert default.mean.flatten().tolist() == pytest.approx(timm.get_pretrained_cfg("resnet10t").mean)
    own = DeepLabV3("resnet10t", False, mean=[0.1, 0.2, 0.3], std=[1.0, 2.0, 4.0], **options).eval()
    own.load_state_dict(default.state_dict())
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.1, 0.2, 0.3], [1.0, 2.0, 4.0]))
    with torch.no_grad():
        torch.testing.assert_close(own(frames), default((frames - mean) / std * default.std + default.mean))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet10l", r"no backbone 'resnet10l'"),
        ("vgg11", r"'vgg11' can't be dilated to output stride 8"),
        ("vit_tiny_patch16_224", r"'vit_tiny_patch16_224' can't be dilated"),
        ("mixer_s16_224", r"'mixer_s16_224' can't be dilated"),
    ],
)
def test_a_backbone_that_will_not_do_is_named(backbone, message):
    with pytest.raises(UserError, match=message):
        create_backbone(backbone, False, 8)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_patches_are_where_upsampling_supposes_them(output_stride):
    encoder = DeepLabV3("convnext_atto", False, output_stride, (1,), 8, 8).eval()
    for conv in encoder.backbone.modules():
        if isinstance(conv, nn.Conv2d) and conv.groups > 1:  # so that a point depends on its patches alone
            around = torch.ones(conv.kernel_size).bool()
            around[conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = False
            conv.weight.data[..., around] = 0
    frames = torch.rand(1, 3, 129, 137, requires_grad=True)
    last = encoder.features(frames)[-1]
    assert last.shape[-2:] == (128 // output_stride + 1, -(-137 // output_stride))
    point = 64 // output_stride
    last[0, :, point, point].square().sum().backward()
    for side in torch.nonzero(frames.grad[0].abs().sum(0)).T:
        assert abs((side.min() + side.max()) / 2 - 64) <= 0.5


def test_a_backbone_of_another_grid_is_refused(monkeypatch):
    class Odd(torch.nn.Module):
        def forward(self, frames):
            return [frames[..., ::16, ::16]]

    monkeypatch.setattr("adnet.models.encoder.create_backbone", lambda *_: Odd())
    with pytest.raises(UserError, match="5 points for 65 pixels, not 9"):
        DeepLabV3("resnet10t", False)


@pytest.mark.parametrize(("name", "refused"), [("gernet_m", True), ("resnet18", False), ("test_efficientnet", False)])
def test_a_layer_that_only_the_dilated_network_has_is_refused(monkeypatch, name, refused):
    """From the hub, timm loads the others without a word; nothing is downloaded here."""
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *given, **options: create(*given, **options | {"pretrained": False})
    )
    create_backbone(name, False, 16)
    with pytest.raises(UserError, match=r"lack .* of output stride 16") if refused else nullcontext():
        create_backbone(name, True, 16)


def test_weights_from_a_file(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model("resnet10t")
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = create_backbone("resnet10t", str(tmp_path / "weights.pth"), 8)
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"model\.encoder\.pretrained: no file"),
        ({"conv1.0.weight": torch.zeros(1)}, r"doesn't fit this backbone: .*conv1\.0\.weight"),
        ({"other": torch.zeros(1)}, r"lacks 'conv1\.0\.weight'"),
        ([1, 2], "holds a list"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, content, message):
    if content is not None:
        torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message) as error:
        create_backbone("resnet10t", str(tmp_path / "weights.pth"), 8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["resnet10t", "resnet18"])
def test_folded_batch_norms_leave_the_features(name, tmp_path):
    torch.manual_seed(0)
    plain = create_backbone(name, False, 8)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(timm.create_model(name).state_dict() | plain.state_dict(), tmp_path / "weights.pth")
    folded = create_backbone(name, str(tmp_path / "weights.pth"), 8, freeze_batch_norm=True)
    frames = torch.rand(1, 3, 65, 65)
    with torch.no_grad():
        expected = plain.eval()(frames)[-1]
        torch.testing.assert_close(folded(frames)[-1], expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(module.weight.requires_grad for module in folded.modules() if isinstance(module, nn.Conv2d))
