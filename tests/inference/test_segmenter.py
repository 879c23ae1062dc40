from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch.nn.functional import interpolate

from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.segmenter import scaled_size
from adnet.models import ADNet

SIZE = (33, 57)


def frames(number: int, size: tuple[int, int] = (40, 70)) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (number, *size, 3), dtype=np.uint8))


@pytest.fixture
def embedded(tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that `tiny_model` was asked to embed."""
    shapes: list[torch.Size] = []
    embed = tiny_model.embed

    def spy(images: torch.Tensor) -> torch.Tensor:
        shapes.append(images.shape)
        return embed(images)

    monkeypatch.setattr(tiny_model, "embed", spy)
    return shapes


def test_anchor_is_embedded_once_a_video_and_view(tiny_model: ADNet, embedded: list[torch.Size]) -> None:
    segmenter = VideoSegmenter(tiny_model, Protocol("test", scales=(0.75, 1.0), mirror=True), SIZE)
    video = frames(3)
    segmenter.start(video[0])
    assert [tuple(shape) for shape in embedded] == [(1, 3, 17, 41), (1, 3, 17, 41), (1, 3, 33, 57), (1, 3, 33, 57)]
    for frame in video:
        segmenter.step(frame)
    assert len(embedded) == 4 + 3 * 4
    segmenter.start(video[1])
    assert len(embedded) == 4 + 3 * 4 + 4


def test_no_anchor_is_embedded_where_none_is_used(
    tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: ADNet = instantiate(tiny_model_config | {"variant": "intra"})
    segmenter = VideoSegmenter(model, Protocol("test"), SIZE)
    alone = segmenter.step(frames(1)[0])
    monkeypatch.setattr(model, "embed", None)
    segmenter.start(frames(1)[0])
    monkeypatch.undo()
    np.testing.assert_array_equal(segmenter.step(frames(1)[0]), alone)


def test_step_without_start(tiny_model: ADNet) -> None:
    with pytest.raises(UserError, match="start"):
        VideoSegmenter(tiny_model, Protocol("test"), SIZE).step(frames(1)[0])


def test_probability_is_the_mean_over_scales_and_mirror(tiny_model: ADNet) -> None:
    tiny_model.eval()
    anchor, frame = frames(2)
    segmenter = VideoSegmenter(tiny_model, Protocol("test", scales=(0.75, 1.0, 1.5), mirror=True), SIZE)
    segmenter.start(anchor)
    out = segmenter.step(frame)

    probabilities = []
    for size in ((17, 41), (33, 57), (49, 81)):
        for flip in (False, True):
            embeddings = []
            for image in (anchor, frame):
                image = image[:, ::-1].copy() if flip else image
                pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
                resized = interpolate(pixels, size, mode="bilinear", align_corners=True)
                with torch.no_grad():
                    embeddings.append(tiny_model.encoder(resized))
            with torch.no_grad():
                logits = interpolate(tiny_model.segment(*embeddings), (40, 70), mode="bilinear", align_corners=True)
            probability = 1 / (1 + np.exp(-logits[0, 0].numpy().astype(np.float64)))
            probabilities.append(probability[:, ::-1] if flip else probability)
    np.testing.assert_allclose(out, np.mean(probabilities, axis=0), atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 1e-4  # the views do differ


def test_mirrored_video_gives_mirrored_probabilities(tiny_model: ADNet) -> None:
    video, outputs = frames(2), []
    segmenter = VideoSegmenter(tiny_model, Protocol("test", mirror=True), SIZE)
    for flip in (1, -1):
        segmenter.start(video[0][:, ::flip].copy())
        outputs.append(segmenter.step(video[1][:, ::flip].copy())[:, ::flip])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


@pytest.mark.parametrize("size", [(40, 70), (33, 57), (7, 91)])
def test_output_is_a_probability_at_the_frame_s_own_size(tiny_model: ADNet, size: tuple[int, int]) -> None:
    segmenter = VideoSegmenter(tiny_model.train(), Protocol("test"), SIZE)
    segmenter.start(frames(1)[0])
    out = segmenter.step(frames(1, size)[0])
    assert out.shape == size
    assert out.dtype == np.float32
    assert 0 <= out.min() <= out.max() <= 1
    np.testing.assert_array_equal(out, segmenter.step(frames(1, size)[0]))  # no dropout


@pytest.mark.parametrize(("scale", "size"), [(0.75, (353, 641)), (1.0, (481, 857)), (1.5, (721, 1281))])
def test_scaled_sizes_are_the_published_ones(scale: float, size: tuple[int, int]) -> None:
    assert scaled_size((481, 857), scale) == size
