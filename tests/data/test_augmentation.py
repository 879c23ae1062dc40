from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adnet.data.augmentation import OUTSIDE, ROTATIONS, Augmentation, Augmented, Region, pasted, random_region
from adnet.data.pictures import read_frame

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


def cut(mask: np.ndarray, region: Region, crop_size: tuple[int, int]) -> np.ndarray:
    """The pixels of `mask` that a crop of `region` samples, counted at 1 / 16 of a pixel by an independent affine warp."""
    back = region.to_frame(mask.shape, crop_size)
    rows, columns = np.mgrid[: crop_size[0], : crop_size[1]]
    x = back[0, 0] * columns + back[0, 1] * rows + back[0, 2]
    y = back[1, 0] * columns + back[1, 1] * rows + back[1, 2]
    inside = (x > -0.5) & (x < mask.shape[1] - 0.5) & (y > -0.5) & (y < mask.shape[0] - 0.5)
    found = np.zeros(crop_size, dtype=bool)
    found[inside] = mask[np.rint(y[inside]).astype(int), np.rint(x[inside]).astype(int)]
    return found


ANGLES = st.sampled_from(sorted(ROTATIONS))


@settings(max_examples=300)
@given(mask=boxes(), aspect=st.floats(0.2, 5), min_crop=st.floats(0.01, 1), angle=ANGLES, seed=st.integers(0, 2**32))
def test_a_region_encloses_the_foreground_at_every_angle(
    mask: np.ndarray, aspect: float, min_crop: float, angle: int, seed: int
) -> None:
    region = random_region(mask, aspect, min_crop, np.random.default_rng(seed), angle)
    assert region.height == pytest.approx(region.width * aspect)
    corners = np.argwhere(mask)[:, ::-1, None] + np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]).T
    if not len(corners):
        return
    turn = np.exp(-1j * np.radians(angle))
    x, y = corners[:, 0] - (mask.shape[1] - 1) / 2, corners[:, 1] - (mask.shape[0] - 1) / 2
    along = (x + 1j * y) * turn
    assert np.abs(along.real - region.x).max() <= region.width / 2 + 1e-6
    assert np.abs(along.imag - region.y).max() <= region.height / 2 + 1e-6


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), x=st.floats(200, 400), y=st.floats(100, 200), angle=ANGLES)
def test_a_region_stays_in_the_frame_where_there_is_room(seed: int, x: float, y: float, angle: int) -> None:
    """A small object in the middle leaves room for every region that fits into the turned frame."""
    mask = disc(x, y, 5, (300, 600))
    region = random_region(mask, 0.5, 0.1, np.random.default_rng(seed), angle)
    assert cut(np.ones_like(mask), region, (60, 120)).all()


@pytest.mark.parametrize("angle", sorted(ROTATIONS))
def test_a_crop_keeps_all_of_the_foreground(angle: int) -> None:
    """A long object near the corner: a rotation within the crop would cut a third of it off."""
    mask = np.zeros((240, 427), dtype=bool)
    mask[10:60, 5:300] = True
    for seed in range(10):
        region = random_region(mask, 129 / 225, 0.3, np.random.default_rng(seed), angle)
        pixels = cut(mask, region, (516, 900)).sum() * (region.height / 516) ** 2
        assert pixels == pytest.approx(mask.sum(), rel=0.01)


def test_regions_differ_in_size_and_place() -> None:
    mask, rng = disc(30, 30, 5), np.random.default_rng(0)
    regions = [random_region(mask, 1.0, 0.3, rng) for _ in range(400)]
    heights = np.array([region.height for region in regions])
    least = 0.3 * SIDE
    assert least <= heights.min() < least + 1
    assert SIDE - 1 < heights.max() <= SIDE
    # Uniform between the two, five standard errors.
    assert abs(heights.mean() - (least + SIDE) / 2) < 5 * (SIDE - least) / np.sqrt(12 * 400)
    assert len({(region.x, region.y) for region in regions}) == 400


def test_empty_masks_give_regions_all_over_the_frame() -> None:
    mask, rng = np.zeros((40, 40), dtype=bool), np.random.default_rng(0)
    covered = np.zeros_like(mask)
    for _ in range(200):
        back = random_region(mask, 1.0, 0.2, rng).to_frame((40, 40), (80, 80))
        (left, top), (right, bottom) = back @ [0, 0, 1], back @ [79, 79, 1]
        covered[math.floor(top + 0.5) : math.ceil(bottom + 0.5), math.floor(left + 0.5) : math.ceil(right + 0.5)] = True
    assert covered.all()


def test_pixels_outside_the_frame_are_background_of_the_mean_colour() -> None:
    """A foreground as wide as the frame leaves none of it out when it is turned upright."""
    mask = np.zeros((60, 100), dtype=bool)
    mask[25:35] = True
    frame = np.full((60, 100, 3), 255, np.uint8)
    augmentation = Augmentation((65, 113))
    shares = []
    for seed in range(60):
        crop, out, _ = augmentation(whole(frame), mask, np.random.default_rng(seed))
        outside = (crop == OUTSIDE).all(axis=-1)
        assert not (out & outside).any()
        shares.append(outside.mean())
    assert max(shares) > 0.3
    assert np.mean(np.array(shares) == 0) > 0.4  # upright, or by 180 degrees


def test_frequencies_of_rotations() -> None:
    """51 % upright and 7 % each other angle, told from where a disc right of the middle goes."""
    mask = disc(54, 32, 4)
    frame = as_frame(mask)
    augmentation, rng, number = Augmentation((SIDE, SIDE), min_crop=1.0), np.random.default_rng(0), 2000
    counts: Counter[int] = Counter()
    for _ in range(number):
        rows, columns = np.nonzero(augmentation(whole(frame), mask, rng)[1])
        angle = np.degrees(np.arctan2(32 - rows.mean(), columns.mean() - 32))  # anticlockwise
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
        frame, out, _ = augmentation(whole(as_frame(mask)), mask, rng)
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
    frame, out, _ = Augmentation((65, 113), flip=0.5)(whole(as_frame(mask)), mask, np.random.default_rng(seed))
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
    changed = [np.abs(out.astype(int) - frame).mean() > 1 for out, *_ in outputs]
    assert 8 <= sum(changed) <= 20  # with probability 0.8
    assert all((out == mask).all() for _, out, _ in outputs)


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
        ((256, 446), (129, 225), 1),
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
    (small, small_mask, _), (full, full_mask, _) = outputs
    np.testing.assert_array_equal(small_mask, full_mask)
    # The region at four times the crop's pixels a side, then averaged.
    region = random_region(mask, 65 / 113, 0.5, np.random.default_rng(seed))
    back, fine = region.to_frame((height, width), (260, 452)), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(frame, back, (452, 260), flags=fine, borderMode=cv2.BORDER_REPLICATE)
    area = cv2.resize(large, (113, 65), interpolation=cv2.INTER_AREA)
    differences = [np.abs(area[1:-1, 1:-1].astype(int) - out[1:-1, 1:-1]).mean() for out in (small, full)]
    assert max(differences) < 1


def test_what_is_pasted_hides_what_is_below_with_a_soft_seam_and_its_own_flow() -> None:
    mask, above_mask = np.zeros((2, 40, 60), dtype=bool)
    mask[5:15, 5:15] = above_mask[10:30, 20:50] = True
    flow, above_flow = np.full((2, 40, 60, 2), [[[[3.0, 1.0]]], [[[-7.0, 2.0]]]], np.float32)
    below = Augmented(np.full((40, 60, 3), 200, np.uint8), mask, flow)
    above = Augmented(np.full((40, 60, 3), 50, np.uint8), above_mask, above_flow)
    image, joined, moved = pasted(below, above)
    assert image.dtype == np.uint8
    inside, near = (cv2.morphologyEx(above_mask.astype(np.uint8), op, np.ones((5, 5))) for op in (0, 1))
    assert (image[inside == 1] == 50).all()
    assert (image[near == 0] == 200).all()
    assert 50 < image[10, 30, 0] < 200
    np.testing.assert_array_equal(joined, mask | above_mask)
    np.testing.assert_array_equal(moved, np.where(above_mask[..., None], above_flow, flow))
    assert pasted(below._replace(flow=None), above).flow is None
    nothing = above._replace(mask=np.zeros_like(mask))
    assert all(map(np.array_equal, pasted(below, nothing), below))
