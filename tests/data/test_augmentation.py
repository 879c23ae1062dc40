from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adnet.data.augmentation import ROTATIONS, Augmentation, random_region
from adnet.data.sequence import read_frame

SIDE = 65


def disc(x: float, y: float, radius: float, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def as_frame(mask: np.ndarray) -> np.ndarray:
    """A frame whose pixels say where its mask is."""
    return np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2)


def whole(frame: np.ndarray) -> Callable[[int], np.ndarray]:
    """A reader that knows `frame` at its full size only."""
    return lambda _: frame


@st.composite
def boxes(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    mask = np.zeros((height, width), dtype=bool)
    top, left = draw(st.integers(0, height)), draw(st.integers(0, width))
    mask[top : draw(st.integers(top, height)), left : draw(st.integers(left, width))] = True
    return mask


@settings(max_examples=300)
@given(mask=boxes(), aspect=st.floats(0.2, 5), min_crop=st.floats(0.01, 1), seed=st.integers(0, 2**32))
def test_region_encloses_the_foreground_and_stays_in_the_frame(
    mask: np.ndarray, aspect: float, min_crop: float, seed: int
) -> None:
    top, left, height, width = random_region(mask, aspect, min_crop, np.random.default_rng(seed))
    assert height >= 1
    assert width >= 1
    assert 0 <= top <= top + height <= mask.shape[0]
    assert 0 <= left <= left + width <= mask.shape[1]
    assert mask[top : top + height, left : left + width].sum() == mask.sum()


@settings(max_examples=100)
@given(aspect=st.floats(0.3, 3), seed=st.integers(0, 2**32))
def test_region_has_the_aspect_where_there_is_room(aspect: float, seed: int) -> None:
    mask = disc(300, 300, 3, (600, 600))
    _, _, height, width = random_region(mask, aspect, 0.1, np.random.default_rng(seed))
    if height < 600 and width < 600:
        # Each side is rounded to a pixel.
        assert abs(height - width * aspect) <= (1 + aspect) / 2 + 1e-9


def test_regions_differ_in_size_and_place() -> None:
    mask, rng = disc(30, 30, 5), np.random.default_rng(0)
    regions = [random_region(mask, 1.0, 0.3, rng) for _ in range(400)]
    heights = np.array([region[2] for region in regions])
    least = round(0.3 * SIDE)
    assert heights.min() == least
    assert heights.max() == SIDE
    # Uniform between the two, five standard errors.
    assert abs(heights.mean() - (least + SIDE) / 2) < 5 * (SIDE - least) / np.sqrt(12 * 400)
    assert len({region[:2] for region in regions}) > 100


def test_empty_masks_give_regions_all_over_the_frame() -> None:
    mask, rng = np.zeros((40, 40), dtype=bool), np.random.default_rng(0)
    covered = np.zeros_like(mask)
    for _ in range(200):
        top, left, height, width = random_region(mask, 1.0, 0.2, rng)
        covered[top : top + height, left : left + width] = True
    assert covered.all()


def test_frequencies_of_rotations() -> None:
    """51 % upright and 7 % each other angle, told from where a disc right of the middle goes."""
    mask = disc(54, 32, 4)
    frame = as_frame(mask)
    augmentation, rng, number = Augmentation((SIDE, SIDE), min_crop=1.0), np.random.default_rng(0), 2000
    counts: Counter[int] = Counter()
    for _ in range(number):
        rows, columns = np.nonzero(augmentation(whole(frame), mask, rng)[1])
        angle = np.degrees(np.arctan2(rows.mean() - 32, columns.mean() - 32))
        turn = round(angle / 45)
        assert abs(angle - 45 * turn) < 3
        counts[turn % 8 * 45] += 1
    assert sum(ROTATIONS.values()) == pytest.approx(1)
    expected = {0: 0.51 * number, **dict.fromkeys(range(45, 360, 45), 0.07 * number)}
    # 99.99 % quantile of chi-squared with 7 degrees of freedom
    assert sum((counts[angle] - count) ** 2 / count for angle, count in expected.items()) < 29.9


def test_without_rotation_nothing_turns() -> None:
    mask, rng = disc(54, 32, 4), np.random.default_rng(0)
    augmentation = Augmentation((SIDE, SIDE), min_crop=1.0, rotate=False)
    for _ in range(20):
        frame, out = augmentation(whole(as_frame(mask)), mask, rng)
        np.testing.assert_array_equal(out, mask)
        np.testing.assert_array_equal(frame, as_frame(mask))


def test_flip_has_its_probability() -> None:
    mask, rng = disc(54, 32, 4), np.random.default_rng(0)
    augmentation = Augmentation((SIDE, SIDE), min_crop=1.0, rotate=False, flip=0.5)
    flipped = sum(augmentation(whole(as_frame(mask)), mask, rng)[1][:, :32].any() for _ in range(400))
    assert abs(flipped / 400 - 0.5) < 5 * 0.5 / np.sqrt(400)


@settings(max_examples=50)
@given(x=st.floats(10, 90), y=st.floats(10, 50), radius=st.floats(8, 25), seed=st.integers(0, 2**32))
def test_frame_and_mask_get_the_same_geometry(x: float, y: float, radius: float, seed: int) -> None:
    mask = disc(x, y, radius, (60, 100))
    frame, out = Augmentation((65, 113), flip=0.5)(whole(as_frame(mask)), mask, np.random.default_rng(seed))
    assert (frame.shape, frame.dtype) == ((65, 113, 3), np.uint8)
    assert (out.shape, out.dtype) == ((65, 113), bool)
    shown = (frame[..., 0] > 127).astype(np.uint8)
    # Frames are interpolated and masks are not: the outline may differ by two pixels, and along the edge, which may cut a disc
    # by a sliver, by more.
    kernel = np.ones((5, 5), dtype=np.uint8)
    inner = np.s_[2:-2, 2:-2]
    assert (cv2.erode(out.astype(np.uint8), kernel) <= shown)[inner].all()
    assert (shown <= cv2.dilate(out.astype(np.uint8), kernel))[inner].all()


def test_jitter_changes_colours_and_leaves_the_mask() -> None:
    mask = disc(32, 32, 10)
    frame = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    augmentation = Augmentation((SIDE, SIDE), min_crop=1.0, rotate=False, jitter=0.3)
    outputs = [augmentation(whole(frame), mask, np.random.default_rng(seed)) for seed in range(20)]
    changed = [np.abs(out.astype(int) - frame).mean() > 1 for out, _ in outputs]
    assert 8 <= sum(changed) <= 20  # with probability 0.8
    assert all((out == mask).all() for _, out in outputs)


def test_all_randomness_comes_from_the_generator() -> None:
    mask = disc(20, 40, 6)
    frame = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    def draw(augmentation: Augmentation) -> list[np.ndarray]:
        rng = np.random.default_rng(7)
        return [augmentation(whole(frame), mask, rng)[0] for _ in range(6)]

    used = Augmentation((33, 33), flip=0.5, jitter=0.3)
    used(whole(frame), mask, np.random.default_rng(99))
    first, second = draw(Augmentation((33, 33), flip=0.5, jitter=0.3)), draw(used)
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 6


@pytest.mark.parametrize(
    ("region", "crop", "reduction"),
    [
        ((480, 854), (129, 225), 2),
        ((480, 854), (481, 857), 1),
        ((257, 450), (129, 225), 1),
        ((900, 900), (100, 112), 8),
    ],
)
def test_a_frame_is_reduced_where_it_keeps_the_pixels_of_the_crop(
    region: tuple[int, int], crop: tuple[int, int], reduction: int
) -> None:
    asked: list[int] = []

    def read(number: int) -> np.ndarray:
        asked.append(number)
        return np.zeros((*region, 3), np.uint8)

    mask = np.ones(region, dtype=bool)  # so that the region is the whole frame
    Augmentation(crop, rotate=False)(read, mask, np.random.default_rng(0))
    Augmentation(crop, rotate=False, reduced_decoding=False)(read, mask, np.random.default_rng(0))
    assert asked == [reduction, 1]


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), height=st.integers(260, 331), width=st.integers(460, 590))
def test_reduced_decoding_shows_the_same_region(
    tmp_path_factory: pytest.TempPathFactory, seed: int, height: int, width: int
) -> None:
    """Against the region's mean over areas, for frames of odd sizes, too; a shift by a pixel would make 3 levels."""
    path = tmp_path_factory.mktemp("frames") / "frame.jpg"
    rows, columns = np.mgrid[:height, :width]
    frame = (
        np.stack([120 + 100 * np.sin(rows / 30 + columns / k) for k in (20, 25, 30)], axis=-1).round().astype(np.uint8)
    )
    Image.fromarray(frame).save(path, quality=95, subsampling=0)
    frame = read_frame(path)
    mask = disc(width / 2, height / 2, 20, (height, width))
    outputs, sizes = [], []
    for reduced in (True, False):
        augmentation = Augmentation((65, 113), min_crop=0.5, rotate=False, reduced_decoding=reduced)
        outputs.append(augmentation(partial(read_frame, path), mask, np.random.default_rng(seed)))
        sizes.append(read_frame(path, 2).shape[:2])
    assert sizes[0] == (-(-height // 2), -(-width // 2))
    (small, small_mask), (full, full_mask) = outputs
    np.testing.assert_array_equal(small_mask, full_mask)
    top, left, rows_, columns_ = random_region(mask, 65 / 113, 0.5, np.random.default_rng(seed))
    area = cv2.resize(frame[top : top + rows_, left : left + columns_], (113, 65), interpolation=cv2.INTER_AREA)
    differences = [np.abs(area[1:-1, 1:-1].astype(int) - out[1:-1, 1:-1]).mean() for out in (small, full)]
    assert max(differences) < 1
