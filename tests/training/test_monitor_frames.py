from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score

from adnet.inference.embeddings import foreground_embeddings
from adnet.metrics.saliency import Saliency
from adnet.training.monitor import (
    ValidationFrame,
    consistency,
    histogram,
    overlay,
    per_sequence,
    precision_recall,
)


def frame(
    sequence: str = "a", index: int = 1, length: int = 5, seed: int = 0, distance: float | None = 0.0
) -> ValidationFrame:
    logits, annotation = drawn(seed)
    return ValidationFrame(sequence, index, length, 1.0, 1.0, histogram(logits, annotation), distance, None)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    annotation = np.zeros((30, 40), dtype=bool)
    annotation[8:20, 10:30] = True
    return (3 * (annotation - 0.5) + 2 * rng.standard_normal((30, 40))).astype(np.float32), annotation


def test_a_histogram_has_all_pixels() -> None:
    logits, annotation = drawn(0)
    assert histogram(logits, annotation).sum(axis=1).tolist() == [(~annotation).sum(), annotation.sum()]


def test_extreme_logits_have_a_place() -> None:
    logits = np.array([[-1e4, 1e4, np.nan]], dtype=np.float32)
    with np.errstate(over="raise"):
        counts = histogram(logits, np.array([[False, True, True]]))
    assert (counts[0, 0], counts[1, 255], counts.sum()) == (1, 1, 3)


def test_curve_is_that_of_all_pixels_together() -> None:
    frames = [frame(seed=seed) for seed in range(3)]
    precision, recall = precision_recall(frames)
    pixels = [drawn(seed) for seed in range(3)]
    levels = np.concatenate([np.rint(255 * torch.from_numpy(x).double().sigmoid().numpy()).ravel() for x, _ in pixels])
    truth = np.concatenate([annotation.ravel() for _, annotation in pixels])
    for place in (0, 60, 128, 200, 255):
        above = levels >= 255 - place
        assert precision[place] == pytest.approx(precision_score(truth, above, zero_division=0))
        assert recall[place] == pytest.approx(recall_score(truth, above))

    saliency = Saliency()
    for logits, annotation in pixels:
        saliency.update(np.rint(255 * torch.from_numpy(logits).double().sigmoid().numpy()).astype(np.uint8), annotation)
    pooled = saliency.compute()["pooled"]
    np.testing.assert_allclose(precision, pooled["precision"], atol=1e-12)
    np.testing.assert_allclose(recall, pooled["recall"], atol=1e-12)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_foreground_is_taken_where_the_grid_lies_on_it(h: int, w: int, seed: int) -> None:
    """Corners are aligned: cell (i, j) of a stride-8 grid lies on pixel (8 i, 8 j)."""
    rng = np.random.default_rng(seed)
    annotation = rng.random((8 * h + 1, 8 * w + 1)) > 0.5
    embedding = torch.from_numpy(rng.standard_normal((3, h + 1, w + 1)))
    expected = [embedding[:, i, j] for i, j in product(range(h + 1), range(w + 1)) if annotation[8 * i, 8 * j]]
    rows = foreground_embeddings(embedding, annotation)
    assert rows.shape == (len(expected), 3)
    assert not expected or torch.equal(rows, torch.stack(expected))


def test_consistency_follows_the_places_of_frames_in_their_videos() -> None:
    frames = [
        frame("a", 8, 9, distance=0.4),
        frame("b", 1, 3, distance=0.1),
        frame("a", 2, 9, distance=0.2),
        frame("b", 2, 3, distance=None),
    ]
    assert consistency(frames) == [pytest.approx(((0.25 + 0.5) / 2, 0.15)), pytest.approx((1.0, 0.4))]
    assert [[one.index for one in group] for group in per_sequence(frames).values()] == [[2, 8], [1, 2]]


def test_overlay_keeps_small_frames_and_shrinks_others() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    _, annotation = drawn(0)
    same = overlay(image, annotation, ~annotation, 40)
    assert same.frame is image
    small = overlay(image, annotation, ~annotation, 20)
    assert small.frame.shape == (15, 20, 3)
    np.testing.assert_array_equal(small.mask, annotation[::2, ::2])
    np.testing.assert_array_equal(small.annotation, ~small.mask)


def test_the_only_frame_is_at_the_beginning() -> None:
    assert ValidationFrame("still", 0, 1, 1.0, 1.0, np.zeros((2, 256), np.int64), None, None).time == 0
