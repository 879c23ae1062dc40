from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from videos import InstantModel, pictures, write_video

from adnet.app.segmentation import Network, Segmentation
from adnet.inference.protocol import Protocol, fitted_size
from adnet.inference.segmenter import VideoSegmenter
from adnet.models import ADNet
from adnet.video.file import VideoFile

PROTOCOL = Protocol("single_scale")


@pytest.fixture
def clip(tmp_path: Path) -> VideoFile:
    return VideoFile("clip", write_video(tmp_path / "clip.mp4", pictures(4)))


def masks(archive: Path) -> dict[str, np.ndarray]:
    with ZipFile(archive) as opened:
        return {name: np.asarray(Image.open(opened.open(name))) for name in opened.namelist()}


def test_masks_are_the_segmenter_s_at_any_threshold(clip: VideoFile, tmp_path: Path) -> None:
    model = InstantModel()
    segmentation = Segmentation(Network(model, PROTOCOL, (33, 57)), clip, tmp_path / "maps")
    assert segmentation.segment().frames == 4
    embedded = len(model.batches)
    segmenter = VideoSegmenter(InstantModel(), PROTOCOL, fitted_size((33, 57), (48, 80)))
    expected = list(segmenter.segment(frame.image for frame in clip.frames()))
    for threshold in (0.5, 0.9):
        folder = tmp_path / str(threshold)
        folder.mkdir()
        segmentation.draw(threshold, folder)
        drawn = masks(folder / "masks.zip")
        assert list(drawn) == [f"0000{index}.png" for index in range(4)]
        for mask, probability in zip(drawn.values(), expected, strict=True):
            assert set(np.unique(mask)) <= {0, 255}
            # 8 bits leave those in doubt that are as near as half a level.
            sure = np.abs(probability - threshold) > 0.5 / 255
            assert sure.mean() > 0.9
            np.testing.assert_array_equal((mask > 0)[sure], (probability > threshold)[sure])
        assert len(list(VideoFile("overlay", folder / "overlay.mp4").frames())) == 4
    assert len(model.batches) == embedded  # the network had nothing to do


def test_a_cut_off_video_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mp4", pictures(20))
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    segmentation = Segmentation(Network(InstantModel(), PROTOCOL, (33, 57)), VideoFile("cut", path), tmp_path / "maps")
    done = segmentation.segment()
    assert "is damaged" in (done.problem or "")
    assert 0 < done.frames < 20
    segmentation.draw(0.5, tmp_path)
    assert len(masks(tmp_path / "masks.zip")) == done.frames


def test_attention_is_a_row_of_the_published_matrix(tiny_model: ADNet, clip: VideoFile, tmp_path: Path) -> None:
    """Eq. 2, written out in NumPy."""
    network = Network(tiny_model.eval(), PROTOCOL, (33, 57))
    segmentation = Segmentation(network, clip, tmp_path / "maps")
    segmentation.segment()
    size = fitted_size((33, 57), (48, 80))
    rows, columns = size[0] // 8 + 1, size[1] // 8 + 1
    X0, Xt = (embedding(tiny_model, segmentation.frame(index).image, size) for index in (0, 3))
    scores = X0 @ Xt.T / np.sqrt(X0.shape[1])
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for x, y, row, column in [(0, 0, 0, 0), (79, 47, rows - 1, columns - 1), (40, 24, rows // 2, columns // 2)]:
        for threshold, inside in [(0.0, 1.0), (1.0, 0.0)]:
            picture, share = segmentation.attention(3, x, y, threshold)
            assert share == pytest.approx(inside, abs=1e-5)
        # Where the most of it is, the picture is the most yellow: the top of the colour map lacks blue.
        place = np.unravel_index(shares[row * columns + column].argmax(), (rows, columns))
        pixel = tuple(
            round(cell / (cells - 1) * (side - 1))
            for cell, cells, side in zip(place, (rows, columns), (48, 80), strict=True)
        )
        grey = segmentation.frame(3).image[pixel].mean()
        np.testing.assert_allclose(picture[pixel], 0.3 * grey + 0.7 * np.array([253, 231, 37]), atol=25)


def embedding(model: ADNet, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    resized = torch.nn.functional.interpolate(image, size, mode="bilinear", align_corners=True)
    with torch.inference_mode():
        return model.embed(resized)[0].flatten(1).T.double().numpy()


def test_variants_without_anchor_diffusion_have_none_to_show() -> None:
    model = InstantModel()
    shown = {}
    for variant in ("full", "anchor_diffusion", "cross", "baseline"):
        model.variant = variant
        shown[variant] = Network(model, PROTOCOL, (33, 57)).diffuses
    assert shown == {"full": True, "anchor_diffusion": True, "cross": False, "baseline": False}


def test_it_opens_at_the_most_probable_pixel(clip: VideoFile, tmp_path: Path) -> None:
    segmentation = Segmentation(Network(InstantModel(), PROTOCOL, (33, 57)), clip, tmp_path / "maps")
    segmentation.segment()
    x, y = segmentation.most_probable_pixel()
    assert segmentation.frame(0).image[y, x].max() > 200  # in one of the bright corners
