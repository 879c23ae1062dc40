from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from adnet.data.flow import OpticalFlow
from adnet.errors import UserError
from adnet.inference import Protocol, smoothing
from adnet.inference.smoothing import WEIGHT, Link, TemporalAverage, first_needed, link

SIZE = (12, 16)


def video(frames: int, seed: int = 0) -> tuple[list[np.ndarray], list[Link | None]]:
    """Probabilities and links at random; flow by whole pixels, so that nothing is interpolated."""
    rng = np.random.default_rng(seed)
    probabilities = [rng.random(SIZE, dtype=np.float32) for _ in range(frames)]
    links = [
        Link(
            rng.integers(-2, 3, (*SIZE, 2)).astype(np.float32), rng.random(SIZE, dtype=np.float32) * np.float32(WEIGHT)
        )
        for _ in range(frames)
    ]
    return probabilities, [None, *links[1:]]


def by_the_book(probabilities: list[np.ndarray], links: list[Link | None], index: int) -> np.ndarray:
    """Frame `index`, computed anew from the first frame of its block's average."""
    average = probabilities[first_needed(index)]
    for number in range(first_needed(index) + 1, index + 1):
        linked = links[number]
        assert linked is not None
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        places = rows + linked.flow[..., 1], columns + linked.flow[..., 0]
        before = map_coordinates(average, places, order=1, mode="nearest")
        average = (1 - linked.share) * probabilities[number] + linked.share * before
    return average


def test_each_frame_is_averaged_with_those_before_from_the_start_of_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoothing, "BLOCK", 5)
    monkeypatch.setattr(smoothing, "WARM_UP", 3)
    probabilities, links = video(17)
    averages = TemporalAverage()
    for index, (probability, linked) in enumerate(zip(probabilities, links, strict=True)):
        expected = by_the_book(probabilities, links, index)
        np.testing.assert_allclose(averages.step(probability, linked), expected, atol=1e-5)
    assert [first_needed(done) for done in (0, 4, 5, 9, 10, 16)] == [0, 0, 2, 2, 7, 12]


@pytest.mark.parametrize("done", [1, 6, 9, 11])
def test_it_continues_after_any_frame_as_if_nothing_had_happened(monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    monkeypatch.setattr(smoothing, "BLOCK", 5)
    monkeypatch.setattr(smoothing, "WARM_UP", 3)
    probabilities, links = video(13)
    whole, again = TemporalAverage(), TemporalAverage()
    expected = [whole.step(*given) for given in zip(probabilities, links, strict=True)]
    for _ in range(first_needed(done)):
        again.skip()
    given = zip(probabilities[first_needed(done) :], links[first_needed(done) :], strict=True)
    got = [again.step(*pair) for pair in given]
    np.testing.assert_array_equal(got[done - first_needed(done) :], expected[done:])


@settings(deadline=None)
@given(st.floats(0, 1, width=32), st.integers(0, 3))
def test_a_constant_stays_and_nothing_leaves_the_range(value: float, seed: int) -> None:
    probabilities, links = video(4, seed)
    constant, averages = TemporalAverage(), TemporalAverage()
    for probability, linked in zip(probabilities, links, strict=True):
        np.testing.assert_allclose(constant.step(np.full(SIZE, value, np.float32), linked), value, atol=1e-6)
        assert 0 <= averages.step(probability, linked).min() <= averages.step(probability, None).max() <= 1


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured square that moves over a textured background by 3 pixels a frame, and its mask."""
    rng = np.random.default_rng(0)
    background, square = (np.kron(rng.integers(0, 256, size), np.ones((4, 4))) for size in ((24, 32), (8, 8)))
    mask = np.zeros((96, 128), bool)
    mask[30:62, 20 + 3 * index : 52 + 3 * index] = True
    frame = background.copy()
    frame[mask] = square.ravel()
    return np.repeat(frame[..., None], 3, axis=2).astype(np.uint8), mask


def test_a_moving_object_that_flickers_becomes_steady() -> None:
    rng, averages, method = np.random.default_rng(0), TemporalAverage(), OpticalFlow()
    for index in range(10):
        frame, mask = scene(index)
        flickering = np.clip(mask * 0.6 + 0.2 + rng.normal(0, 0.3, mask.shape), 0, 1).astype(np.float32)
        averaged = averages.step(flickering, link(frame, scene(index - 1)[0], method) if index else None)
    assert ((averaged > 0.5) != mask).sum() < ((flickering > 0.5) != mask).sum() / 5


def test_nothing_is_taken_over_from_another_scene() -> None:
    frame = scene(0)[0]
    assert link(255 - frame, frame, OpticalFlow()).share.mean() < 0.1
    np.testing.assert_allclose(link(frame, frame, OpticalFlow()).share, WEIGHT, atol=0.01)


def test_frames_larger_than_their_flow_keep_their_detail() -> None:
    """The average changes a large frame only by what it changes at the size of the flow."""
    rng = np.random.default_rng(0)
    detailed, linked = rng.random((96, 128), dtype=np.float32), video(2)[1][1]
    assert linked is not None
    averages = TemporalAverage()
    averages.step(detailed, None)
    nothing = Link(linked.flow, np.zeros_like(linked.share))
    np.testing.assert_array_equal(averages.step(detailed, nothing), detailed)


def test_it_averages_probabilities_alone() -> None:
    with pytest.raises(UserError, match=r"protocol\.smooth works on averaged probabilities"):
        Protocol("test", average="logits", smooth=True)
