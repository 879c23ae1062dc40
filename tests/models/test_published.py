import json
import os
import pickle

import numpy as np
import pytest
import torch
from published_weights import nothing_drawn, shapes, weights, zeros
from safetensors.torch import save_file
from torch.nn.functional import batch_norm, leaky_relu

from adnet.errors import UserError
from adnet.models import load_published, published_config

NAMES = {"base": "baseline", "intra": "intra", "concat": "anchor", "inter": "anchor_diffusion", "ad": "full"}
MEAN_BGR = torch.tensor([104.00698793, 116.66876762, 122.67891434]).view(3, 1, 1)


@pytest.fixture(scope="module")
def arrays(reference):
    return {key: torch.from_numpy(value) for key, value in np.load(reference / "official_model.npz").items()}


@pytest.fixture(autouse=True)
def _nothing_drawn():
    with nothing_drawn():
        yield


def _rgb(bgr):
    """A published network's input -> RGB in [0, 1]."""
    return (bgr + MEAN_BGR).flip(1) / 255


def test_our_list_of_published_names_is_the_published_one(reference):
    models = json.loads((reference / "official_model_keys.json").read_text())["models"]
    assert len(models) == 5
    for name, expected in models.items():
        assert shapes(*name.split("/")) == expected


@pytest.mark.parametrize("published", NAMES)
def test_logits_agree_with_the_published_network(arrays, published):
    model = load_published(weights("ResNet50", published), published)
    with torch.inference_mode():
        logits = model(_rgb(arrays["anchor_bgr"]), _rgb(arrays["current_bgr"]))
    torch.testing.assert_close(logits, arrays[f"ResNet50/{published}/logits"], atol=1e-4, rtol=0)
    assert model.variant == NAMES[published]
    assert not model.training


def test_embedding_and_cached_anchor_agree_with_the_published_network(arrays):
    model = load_published(weights("ResNet50", "ad"), "full")
    with torch.inference_mode():
        anchor, embedding = (model.embed(_rgb(arrays[f"{name}_bgr"])) for name in ("anchor", "current"))
        logits = model.segment(anchor, embedding)
    torch.testing.assert_close(embedding, arrays["ResNet50/ad/embedding"], atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, arrays["ResNet50/ad/logits"], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("published", ["base", "ad"])
def test_resnet101_takes_the_same_path(published):
    given = weights("ResNet101", published)
    model = load_published(given, published)
    blocks = dict(model.encoder.backbone.named_children())
    assert model.encoder.backbone_name == "resnet101s"
    assert [len(blocks[f"layer{i}"]) for i in (1, 2, 3, 4)] == [3, 4, 23, 3]
    last = model.state_dict()["encoder.backbone.layer3.22.conv2.weight"]
    prefix = "" if published == "base" else "features."
    assert torch.equal(last, given[f"{prefix}layer3.22.conv2.weight"])
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, 33, 33), torch.rand(1, 3, 33, 33))
    assert logits.shape == (1, 1, 5, 5)
    assert logits.isfinite().all()


def test_batch_norm_scale_is_folded():
    given = weights("ResNet50", "ad")
    model = load_published(given, "ad")
    x = torch.randn(2, 384, 3, 4)
    parts = [given[f"cls.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    mean, var, weight, bias = parts
    conv = torch.nn.functional.conv2d(x, given["cls.0.weight"], given["cls.0.bias"])
    expected = leaky_relu(batch_norm(conv, mean, var, weight.abs() + 1e-5, bias, eps=1e-5), 0.01)
    torch.testing.assert_close(model.head[:3](x), expected, atol=1e-5, rtol=1e-5)
    assert (given["cls.1.weight"] < 0).any()


def test_module_prefix_dsn_and_wrapping_make_no_difference():
    given = weights("ResNet50", "inter")
    bare = {f"module.{key}": value for key, value in given.items() if ".dsn." not in key}
    expected = load_published(given, "inter").state_dict()
    for other in (bare, {"state_dict": bare}, bare | {"module.cls.1.num_batches_tracked": torch.tensor(7)}):
        for key, value in load_published(other, "anchor_diffusion").state_dict().items():
            assert torch.equal(value, expected[key]), key


def test_files_of_either_format(tmp_path):
    given = weights("ResNet50", "base")
    torch.save(given, tmp_path / "base.pth")
    save_file(given, tmp_path / "base.safetensors")
    expected = load_published(given, "base").state_dict()
    for path in (tmp_path / "base.pth", str(tmp_path / "base.safetensors")):
        state = load_published(path, "baseline").state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in state.items())


class _Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch.save", "legacy", "pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, writer):
    path, target = tmp_path / "ad.pth", tmp_path / "harm"
    content = {"cls.3.weight": torch.zeros(1, 128, 1, 1), "cls.3.bias": _Attack(target)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"cls.3.bias": _Attack(target)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch.save")
    with pytest.raises(UserError, match=r"ad\.pth.*could run code"):
        load_published(path, "full")
    assert not target.exists()
    # The attack is a real one.
    if writer == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert target.is_dir()


def _without(key):
    return {name: value for name, value in zeros("ResNet50", "ad").items() if name != key}


@pytest.mark.parametrize(
    ("given", "variant", "message"),
    [
        (lambda: _without("features.layer4.2.bn3.bias"), "full", r"lacks features\.layer4\.2\.bn3\.bias"),
        (lambda: _without("cls.0.bias"), "full", r"lacks cls\.0\.bias"),
        (lambda: zeros("ResNet50", "ad") | {"cls.9.weight": torch.zeros(1)}, "full", r"has an unknown cls\.9\.weight"),
        (
            lambda: zeros("ResNet50", "ad") | {"cls.3.bias": torch.zeros(2)},
            "full",
            r"cls\.3\.bias of shape \[2\], not \[1\]",
        ),
        (lambda: zeros("ResNet50", "ad") | {"cls.3.bias": "no"}, "full", r"cls\.3\.bias of shape \['str'\], not \[1\]"),
        (lambda: zeros("ResNet50", "ad"), "intra", r"cls\.0\.weight of shape \[128, 384, 1, 1\].*another variant"),
        (lambda: zeros("ResNet50", "base"), "full", r"lacks features\.conv1\.weight.*more such.*another variant"),
        (lambda: zeros("ResNet50", "ad"), "fulll", r"no published variant 'fulll'.*full \(ad\)"),
        (lambda: zeros("ResNet50", "ad"), "cross", r"no published variant 'cross'"),
        (lambda: {"conv1.weight": torch.zeros(1)}, "full", r"layer3.* has 0 blocks"),
    ],
)
def test_what_does_not_fit_is_named(given, variant, message):
    content = given()
    with torch.device("meta"), pytest.raises(UserError, match=message) as error:  # of the network, shapes are enough
        load_published(content, variant)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ad.pth", None, "no file"),
        ("ad.pth", b"PK\x03\x04 cut off", "can't be read"),
        ("ad.pth", b"", "can't be read"),
        ("ad.pth", b"not a checkpoint at all", "refused"),
        ("ad.safetensors", b"not a checkpoint at all", "can't be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_published(tmp_path / name, "full")
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_names_is_refused(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "one.pth")
    with pytest.raises(UserError, match="holds a Tensor"):
        load_published(tmp_path / "one.pth", "full")


def test_config_names_the_normalisation():
    config = published_config("concat", "resnet101s")
    assert config["variant"] == "anchor"
    assert config["encoder"]["mean"][0] * 255 == pytest.approx(122.67891434)
    assert published_config("base", "resnet50s")["encoder"]["embedding_channels"] == 1
