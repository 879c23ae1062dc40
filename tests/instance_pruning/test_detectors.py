from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from run_lengths import encode
from torch import nn

from adnet.errors import UserError
from adnet.inference.output_folder import without_device
from adnet.instance_pruning.detectors import MaskRCNN, Precomputed
from adnet.shared.command import conf_dir

FRAME = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:5] = True


def entry(image_id: str = "bear/00000", score: float = 0.9, mask: Any = MASK) -> dict[str, Any]:
    return {"image_id": image_id, "segmentation": encode(mask), "score": score, "category_id": 1, "bbox": [0, 0, 1, 1]}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_precomputed_gives_a_video_s_detections_by_frame(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools import mask as rle

    compressed = rle.encode(np.asfortranarray(~MASK, np.uint8))
    entries = [
        entry("set/bear/00010"),
        entry("set/bear/00002", 0.5),
        entry("set/bear/00002", 0.49),
        entry("set/bear/00002") | {"segmentation": {"size": [6, 8], "counts": compressed["counts"].decode()}},
        entry("set/bear/00003", mask=np.zeros((6, 8), bool)),
        entry("bear/00002"),
    ]
    detected = Precomputed(write(tmp_path / "d.json", entries)).detect("set/bear", iter([FRAME] * 11))
    assert detected.frames == 11
    assert list(detected.detections) == ["00002", "00003", "00010"]
    first, second = detected.detections["00002"]
    assert (first.box, first.area) == ((2, 1, 5, 4), 9)
    canvas = np.zeros((6, 8), bool)
    second.paint(canvas)
    assert np.array_equal(canvas, ~MASK)
    assert detected.detections["00003"] == []


def test_a_video_without_detections_is_warned_of(tmp_path: Path) -> None:
    detector = Precomputed(write(tmp_path / "d.json", [entry(), entry("cow/00000", score=0.1)]))
    with pytest.warns(UserWarning, match="no detections in the video 'beer'"):
        assert detector.detect("beer", [FRAME]).detections == {}
    assert detector.detect("cow", [FRAME]).detections == {"00000": []}  # one with low scores only is known


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ({"annotations": []}, "isn't COCO: the whole: input should be a valid list"),
        ([entry("00000")], "the image_id '00000' is not '<sequence>/<frame>'"),
        ([entry(), {"image_id": "bear/00000", "score": 1}], "1.segmentation: field required"),
        ([entry() | {"image_id": 17}], "no image has the id 17"),
        ([entry() | {"score": None}], "0.score: input should be a valid number"),
        (["bear"], "0: input should be a valid dictionary"),
        (
            [entry() | {"segmentation": [[0, 0, 4, 0, 4, 4]]}],
            "result 0 of bear/00000 has no usable mask: expected {'size'",
        ),
        ([entry() | {"segmentation": {"size": [6, 8], "counts": [3]}}], "result 0 .* 3 pixels"),
        (
            [entry() | {"segmentation": {"size": [10**7, 10**7], "counts": [10**14]}}],
            "result 0 .*its size is 10000000x10000000, that of the frames 6x8",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "d.json"
    if content is not None:
        write(file, content)
    with pytest.raises(UserError, match=message):
        Precomputed(file).detect("bear", [FRAME])


class FakeMaskRCNN(nn.Module):
    """Sees the same three objects in every frame, one of them empty."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments, self.inputs = arguments, []  # type: ignore[var-annotated]
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        self.inputs += images
        masks = torch.stack([torch.from_numpy(MASK) * 0.6, torch.zeros(6, 8), torch.from_numpy(MASK) * 0.9])[:, None]
        return [{"masks": masks * self.scale, "scores": torch.tensor([0.9, 0.8, 0.3])}]


@pytest.fixture
def mask_rcnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.models.detection.maskrcnn_resnet50_fpn_v2", FakeMaskRCNN)


@pytest.mark.usefixtures("mask_rcnn")
def test_mask_rcnn_from_a_file(tmp_path: Path) -> None:
    torch.save({"scale": torch.ones(1)}, tmp_path / "weights.pth")
    detector = MaskRCNN(str(tmp_path / "weights.pth"), score=0.5, device="cpu")
    detected = detector.detect("bear", [FRAME, FRAME])
    assert detected.frames == 2
    assert list(detected.detections) == [0, 1]
    for [detection] in detected.detections.values():
        assert detection.box == (2, 1, 5, 4)
    model: Any = detector.model
    assert model.arguments == {"weights": None, "weights_backbone": None, "box_score_thresh": 0.5}
    assert not model.training
    np.testing.assert_allclose(model.inputs[0].numpy(), FRAME.transpose(2, 0, 1) / np.float32(255))
    assert MaskRCNN(str(tmp_path / "weights.pth"), mask_threshold=0.7, device="cpu").detect(
        "b", [FRAME]
    ).detections == {0: []}


@pytest.mark.usefixtures("mask_rcnn")
def test_mask_rcnn_s_weights_are_checked(tmp_path: Path) -> None:
    torch.save({"other": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="doesn't fit torchvision's maskrcnn_resnet50_fpn_v2"):
        MaskRCNN(str(tmp_path / "weights.pth"))
    with pytest.raises(UserError, match="no file"):
        MaskRCNN(str(tmp_path / "nothing.pth"))


@pytest.mark.usefixtures("mask_rcnn")
def test_mask_rcnn_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, *_: Any, **__: Any) -> Path:
        asked.append(url)
        raise UserError(f"cannot download {url}: no route to host")

    asked: list[str] = []
    monkeypatch.setattr("adnet.instance_pruning.detectors.fetch", fetch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        MaskRCNN()
    assert "\n" not in str(error.value)
    cache = tmp_path / "hub" / "checkpoints" / "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"
    for way in (
        "no route to host",
        str(cache),
        "postprocess.detector.weights=FILE",
        "postprocess/detector=precomputed",
    ):
        assert way in str(error.value)
    assert asked == [f"https://download.pytorch.org/models/{cache.name}"]
    cache.parent.mkdir(parents=True)
    torch.save({"scale": torch.ones(1)}, cache)
    assert MaskRCNN(device="cpu").detect("bear", [FRAME]).frames == 1


def test_a_detector_is_where_the_network_is() -> None:
    words = ["postprocess=instance_pruning", "input=video.mp4", "device=cuda:1"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings: Any = OmegaConf.to_container(hydra.compose("predict", words).postprocess, resolve=True)
    assert settings["detector"]["device"] == "cuda:1"
    assert without_device(settings)["detector"]["device"] is None  # which doesn't tell predictions apart
    assert without_device(settings)["detector"]["score"] == 0.5
