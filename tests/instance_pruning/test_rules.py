from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.instance_pruning.detectors import Detected, Detection
from adnet.instance_pruning.rules import InstancePruning

SIZE = (60, 200)
FRAMES = 10
PARAMETERS: dict[str, Any] = {"part": 0.5, "iou": 0.3, "gap": 1, "area": 0.1, "presence": 0.4}


def box(left: int, top: int, width: int, height: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return mask


class Known:
    """A detector that knows the masks of each frame, by name or by position."""

    def __init__(self, masks: list[list[Any]], named: bool = True, frames: int | None = None) -> None:
        self.masks, self.named, self.frames = masks, named, frames

    def detect(self, video: str, frames: Iterable[Frame]) -> Detected:  # noqa: ARG002
        found = {
            f"{t:05d}" if self.named else t: [d for mask in masks if (d := Detection.of(mask))]
            for t, masks in enumerate(self.masks)
        }
        return Detected(found, self.frames or len(self.masks))


def filters(pruning: InstancePruning) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What becomes of probabilities of 0.8: `[FRAMES, H, W]`."""
    pruning.start("video", [])
    return np.stack([pruning.step(f"{t:05d}", np.full(SIZE, 0.8, np.float32)) for t in range(FRAMES)])


OBJECT = box(20, 10, 50, 40)  # 2,000 pixels
SMALL = box(120, 10, 15, 10)  # 150
LARGE = box(120, 10, 40, 40)  # 1,600


@pytest.mark.parametrize("named", [True, False])
def test_a_small_track_is_pruned_and_the_rest_stays(named: bool) -> None:
    result = filters(InstancePruning(Known([[OBJECT, SMALL]] * FRAMES, named), **PARAMETERS))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, np.stack([np.where(SMALL, 0, np.float32(0.8))] * FRAMES))


@pytest.mark.parametrize(("seen", "pruned"), [(3, True), (4, False)])
def test_a_track_in_a_part_of_the_video_is_pruned(seen: int, pruned: bool) -> None:
    """Four of ten frames are the presence of 0.4 that is asked for; its area, 0.8 of the object's, would do."""
    result = filters(InstancePruning(Known([[OBJECT] + [LARGE] * (t < seen) for t in range(FRAMES)]), **PARAMETERS))
    assert (result[:seen, LARGE] == 0).all() == pruned
    assert (result[seen:] > 0).all()


@pytest.mark.parametrize(("area", "pruned"), [(0.07, False), (0.08, True)])
def test_the_least_area_is_a_share_of_the_largest_track_s(area: float, pruned: bool) -> None:
    result = filters(InstancePruning(Known([[OBJECT, SMALL]] * FRAMES), **PARAMETERS | {"area": area}))
    assert (result == 0).any() == pruned  # SMALL has 0.075


def test_the_largest_track_stays_however_short() -> None:
    result = filters(InstancePruning(Known([[LARGE]] + [[]] * (FRAMES - 1)), **PARAMETERS))
    assert (result > 0).all()


def test_what_a_kept_track_covers_stays() -> None:
    """The upper part of the object, seen as another one for a while, is no hole in it."""
    part = box(20, 10, 150, 5)
    result = filters(InstancePruning(Known([[OBJECT] + [part] * (t == 0) for t in range(FRAMES)]), **PARAMETERS))
    assert (result[:, OBJECT] > 0).all()
    assert (result[0, part & ~OBJECT] == 0).all()


@pytest.mark.parametrize(("width", "pruned"), [(90, False), (110, True)])
def test_another_view_of_a_kept_object_stays(width: int, pruned: bool) -> None:
    """50 of its columns are the object's, more or less than half."""
    view = box(20, 10, width, 5)
    result = filters(InstancePruning(Known([[OBJECT] + [view] * (t == 0) for t in range(FRAMES)]), **PARAMETERS))
    assert (result[0, view & ~OBJECT] == 0).all() == pruned


def test_without_the_largest_track_nothing_is_pruned() -> None:
    """The object is lost in the first frames, where a piece of its track may be all that is seen."""
    result = filters(
        InstancePruning(Known([[SMALL] + [OBJECT] * (t > 3) for t in range(FRAMES)]), **PARAMETERS | {"area": 0.2})
    )
    assert (result[:4] > 0).all()
    assert (result[4:, SMALL] == 0).all()


def test_presence_counts_frames_without_any_detection() -> None:
    detector = Known([[OBJECT, LARGE]] * 4 + [[OBJECT]] * 5, frames=FRAMES)
    assert (filters(InstancePruning(detector, **PARAMETERS)) > 0).all()
    detector.frames = 2 * FRAMES
    assert (filters(InstancePruning(detector, **PARAMETERS))[0, LARGE] == 0).all()


def test_pruned_masks_grow_by_the_margin_but_not_into_kept_ones() -> None:
    near = box(74, 20, 6, 6)
    result = filters(InstancePruning(Known([[OBJECT, near]] * FRAMES), **PARAMETERS, margin=5))
    expected = np.full(SIZE, np.float32(0.8))
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    outside = np.maximum(np.maximum(20 - rows, rows - 25), 0), np.maximum(np.maximum(74 - columns, columns - 79), 0)
    distance = np.hypot(*outside)
    assert (result[:, (distance < 4.5) & ~OBJECT] == 0).all()
    assert (result[:, OBJECT | (distance > 6)] == expected[OBJECT | (distance > 6)]).all()


def test_a_video_does_not_see_the_one_before() -> None:
    detector = Known([[OBJECT, SMALL]] * FRAMES)
    pruning = InstancePruning(detector, **PARAMETERS)
    filters(pruning)
    detector.masks = [[OBJECT]] * FRAMES
    assert (filters(pruning) > 0).all()


def test_nothing_detected_is_nothing_done() -> None:
    assert (filters(InstancePruning(Known([[]] * FRAMES), **PARAMETERS)) == np.float32(0.8)).all()


def test_detections_at_another_size_are_refused() -> None:
    pruning = InstancePruning(Known([[OBJECT, SMALL]] * FRAMES), **PARAMETERS)
    pruning.start("bear", [])
    with pytest.raises(UserError, match="bear/00000 is 200x60 and the frame 100x30"):
        pruning.step("00000", np.ones((30, 100), np.float32))


def test_names_that_fit_no_frame_are_told() -> None:
    pruning = InstancePruning(Known([[OBJECT, SMALL]] * 3), **PARAMETERS)
    pruning.start("bear", [])
    for frame in ("1", "2"):
        pruning.step(frame, np.ones(SIZE, np.float32))
    with pytest.raises(UserError, match="'00000'; it has '3'"):
        pruning.step("3", np.ones(SIZE, np.float32))
