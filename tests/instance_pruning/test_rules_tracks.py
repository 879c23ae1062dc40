from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.instance_pruning.detectors import Detection
from adnet.instance_pruning.rules import link


def seen(left: int, top: int = 10, side: int = 20) -> Detection:
    mask = np.zeros((60, 200), bool)
    mask[top : top + side, left : left + side] = True
    detection = Detection.of(mask)
    assert detection is not None
    return detection


def test_a_detection_is_its_mask() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2, 3] = mask[4, 5] = True
    detection = Detection.of(np.asfortranarray(mask))
    assert detection is not None
    assert (detection.box, detection.area) == ((3, 2, 6, 5), 2)
    assert detection.size == (6, 8)
    canvas = np.zeros((6, 8), bool)
    detection.paint(canvas)
    assert np.array_equal(canvas, mask)
    assert Detection.of(np.zeros((6, 8), bool)) is None


def test_what_two_masks_share() -> None:
    """A mask of its box's corners alone, and one that lies in that box."""
    corners = np.zeros((6, 8), bool)
    corners[[1, 1, 4, 4], [2, 6, 2, 6]] = True
    inside = np.zeros((6, 8), bool)
    inside[1:3, 2:4] = True
    one, other = Detection.of(corners), Detection.of(inside)
    assert one is not None
    assert other is not None
    assert (one.shared(other), other.shared(one), one.shared(one)) == (1, 1, 4)


def test_two_that_cross_the_frame_are_two_tracks() -> None:
    frames = [[seen(5 * t), seen(150 - 5 * t, top=35)] for t in range(8)]
    tracks = link(frames, iou=0.3, gap=0)
    assert [list(track) for track in tracks] == [list(range(8))] * 2
    assert tracks[0][7] is frames[7][0]


def test_the_largest_overlap_goes_first() -> None:
    frames = [[seen(50)], [seen(58), seen(51)]]
    tracks = link(frames, iou=0.3, gap=0)
    assert [list(track.values()) for track in tracks] == [[frames[0][0], frames[1][1]], [frames[1][0]]]


@pytest.mark.parametrize(("gap", "tracks"), [(0, 2), (1, 2), (2, 1), (5, 1)])
def test_a_track_may_be_unseen_for_a_while(gap: int, tracks: int) -> None:
    assert len(link([[seen(50)], [], [], [seen(50)]], iou=0.3, gap=gap)) == tracks


def test_far_apart_is_another_track() -> None:
    assert len(link([[seen(50)], [seen(65)]], iou=0.3, gap=0)) == 2  # overlap 5/35
    assert len(link([[seen(50)], [seen(65)]], iou=0.1, gap=0)) == 1


def test_nothing_seen_is_no_track() -> None:
    assert link([], 0.3, 0) == []
    assert link([[], []], 0.3, 0) == []


@given(st.lists(st.lists(st.integers(0, 150), max_size=4), max_size=6), st.floats(0, 1), st.integers(0, 3))
def test_each_detection_is_in_one_track(lefts: list[list[int]], iou: float, gap: int) -> None:
    frames = [[seen(left) for left in found] for found in lefts]
    tracks = link(frames, iou, gap)
    linked = [id(detection) for track in tracks for detection in track.values()]
    assert sorted(linked) == sorted(id(detection) for found in frames for detection in found)
    for track in tracks:
        positions = list(track)
        assert all(0 < after - before <= gap + 1 for before, after in pairwise(positions))
