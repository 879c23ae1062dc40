"""What a synthetic video shows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

module = import_module("adnet.data.synthetic")


def video(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames `[T, H, W, 3]` and masks `[T, H, W]` of a video that was not compressed."""
    frames, masks = zip(*module.synthetic_video(np.random.default_rng([0, 0, number]), 6, (72, 128)), strict=True)
    return np.stack(frames), np.stack(masks)


def test_the_object_is_in_sight_and_of_sane_size_and_starts_near_the_centre() -> None:
    masks = np.stack([video(number)[1] for number in range(16)])
    shares = masks.mean(axis=(2, 3))
    assert shares[:, 0].min() > 0.07
    assert shares[:, 0].max() < 0.2
    assert shares.min() > 0.005
    assert shares.max() < 0.31
    assert np.quantile(shares, 0.1) > 0.05
    assert np.quantile(shares, 0.9) < 0.25
    for anchor in masks[:, 0]:
        rows, columns = np.nonzero(anchor)
        assert abs(rows.mean() / 72 - 0.5) < 0.2
        assert abs(columns.mean() / 128 - 0.5) < 0.2
        _, labels = cv2.connectedComponents(anchor.astype(np.uint8))
        assert np.bincount(labels.ravel())[1:].max() > 0.95 * anchor.sum()


def test_the_mask_is_the_visible_part_of_the_object_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paint the object red, the occluder green, distractors blue and the ground black: the mask is what is red."""
    blobs: list[Any] = []
    initialise, draw = module._Blob.__init__, module._Blob.draw

    def remember(blob: Any, *args: Any, **options: Any) -> None:
        blobs.append(blob)
        initialise(blob, *args, **options)

    def flat(blob: Any, *args: Any) -> tuple[np.ndarray, np.ndarray]:
        colour, coverage = draw(blob, *args)
        # The object is made first but painted after the distractors; what is painted after it occludes it.
        paint = (255, 0, 0) if blob is blobs[0] else (0, 255, 0) if blobs[0] in drawn else (0, 0, 255)
        drawn.add(blob)
        return np.full_like(colour, paint), coverage

    drawn: set[Any] = set()
    monkeypatch.setattr(module._Blob, "__init__", remember)
    monkeypatch.setattr(module._Blob, "draw", flat)
    monkeypatch.setattr(module, "_background", lambda _, size, __: np.zeros((2 * size[0], 2 * size[1], 3)))
    occluded = tempted = 0
    for number in range(12):
        blobs.clear()
        drawn.clear()
        frames, masks = video(number)
        red, green, blue = np.moveaxis(frames.astype(int), -1, 0)
        # Half of 255, give or take the illumination (20 %) and the noise.
        assert red[masks].min() > 70
        assert red[~masks].max() < 180
        assert max(green[masks].max(), blue[masks].max()) < 180
        assert (blue[0] > 128).sum() < 1.2 * masks[0].sum()
        occluded += bool((green > 180).any())
        tempted += bool((blue[0] > 180).any())
    assert occluded >= 3
    assert tempted >= 6


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(64, 480), width=st.integers(64, 854))
def test_the_object_moves_against_the_background(seed: int, height: int, width: int) -> None:
    path, camera, lens = module._motion(np.random.default_rng(seed), np.linspace(0, 1, 16), (height, width))
    ground = (path[0] - camera) / lens  # where the point of the ground behind the object's start is seen
    assert abs(ground[0] - path[0]) < 1e-9
    assert np.abs(path - ground).max() > 0.1 * np.sqrt(height * width)
    assert np.abs(path.real).max() < width
    assert np.abs(path.imag).max() < height


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), time=st.floats(0, 1))
def test_a_deforming_blob_keeps_its_area(seed: int, time: float) -> None:
    """The Fourier coefficients are scaled by Parseval's theorem: the area stays that of the disc, pi r^2."""
    rng = np.random.default_rng(seed)
    blob = module._Blob(rng, 0.5, "spots", aspect=rng.uniform(0.6, 1))
    plane = np.linspace(-3, 3, 301)
    _, coverage = blob.draw(plane + 1j * plane[:, None], time, pixel=0.02)
    assert (coverage > 0.5).sum() * 0.02**2 == pytest.approx(np.pi, rel=0.01)
