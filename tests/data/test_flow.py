"""Flow of made-up motions, whose true vectors are known."""

from __future__ import annotations

import errno
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adnet.data.augmentation import Augmentation, FlowAugmentation
from adnet.data.datasets import davis2016
from adnet.data.flow import (
    _VERSION,
    NoFlow,
    OpticalFlow,
    SequenceFlow,
    camera_motion,
    mirrored_flow,
    normalised,
    to_flow_input,
)
from adnet.data.pictures import read_frame
from adnet.errors import UserError
from adnet.models.adnet import no_motion

SIZE = 160, 240


def texture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip((smooth - smooth.mean()) * 4 + 128, 0, 255).astype(np.uint8)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def moving(shift: tuple[int, int], camera: tuple[int, int] = (0, 0)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame, the one before and the object's mask; the object came by `shift` and the camera's picture by `camera`."""
    world, thing = texture(0, (SIZE[0] + 40, SIZE[1] + 40)), texture(1)
    mask = disc(120, 80, 24)

    def seen(camera: tuple[int, int], place: tuple[int, int]) -> np.ndarray:
        frame = world[20 - camera[1] : 20 - camera[1] + SIZE[0], 20 - camera[0] : 20 - camera[0] + SIZE[1]].copy()
        there = np.roll(mask, place[::-1], (0, 1))
        frame[there] = np.roll(thing, place[::-1], (0, 1))[there]
        return frame

    return seen(camera, (0, 0)), seen((0, 0), (-shift[0], -shift[1])), mask


def test_an_object_that_moves_before_a_still_camera() -> None:
    frame, before, mask = moving((6, -4))
    flow = OpticalFlow()(frame, before)
    assert (flow.shape, flow.dtype) == ((*SIZE, 2), np.int8)
    u, v = np.median(flow[mask], axis=0)
    assert u < 0 < v  # to where it was
    assert u / v == pytest.approx(-6 / 4, rel=0.1)
    assert np.abs(flow[~disc(120, 80, 40)]).mean() < 3


def test_the_camera_s_motion_is_taken_off() -> None:
    frame, before, mask = moving((6, -4), camera=(5, 3))
    with_camera, without = (OpticalFlow(camera=camera)(frame, before) for camera in (False, True))
    outside = ~disc(120, 80, 40)
    assert np.abs(np.median(with_camera[outside], axis=0)).max() > 20
    assert np.abs(np.median(without[outside], axis=0)).max() <= 2
    u, v = np.median(without[mask], axis=0)
    # What is left is the object's motion less the camera's: (-6 + 5, 4 + 3).
    assert v > 3 * abs(u)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 0.3))
def test_a_homography_is_found_among_outliers(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    homography = np.eye(3) + rng.uniform(-1, 1, (3, 3)) * [[0.03, 0.03, 5], [0.03, 0.03, 5], [5e-5, 5e-5, 0]]
    grid = np.stack(np.meshgrid(np.arange(240), np.arange(160)), axis=-1).astype(np.float32)
    true = cv2.perspectiveTransform(grid.reshape(-1, 1, 2), homography).reshape(grid.shape) - grid
    seen = true.copy()
    seen[:, : round(240 * share)] += (12, -9)
    np.testing.assert_allclose(camera_motion(seen.astype(np.float32)), true, atol=0.2)


@pytest.mark.parametrize("speed", [0.3, 0.6, 1.2])
@pytest.mark.parametrize("radius", [40, 64])
def test_a_slow_object_is_not_taken_for_the_camera(speed: float, radius: float) -> None:
    """The object fills 13 or 34 % of the frame and moves by less than a pixel or a little more, each frame with noise of its own."""
    world, thing, mask = texture(0), texture(1), disc(120, 80, radius)
    rng = np.random.default_rng(0)

    def seen(shift: float) -> np.ndarray:
        across = np.float32([[1, 0, -shift], [0, 1, 0]])
        place, there = (
            cv2.warpAffine(image, across, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            for image in (mask.astype(np.float32), thing)
        )
        frame = np.where(place[..., None] > 0.5, there, world) + rng.normal(0, 2, (*SIZE, 3))
        return np.clip(np.rint(frame), 0, 255).astype(np.uint8)

    flow = OpticalFlow().vectors(seen(0), seen(speed))
    assert np.median(flow[disc(120, 80, radius - 8)], axis=0) == pytest.approx([-speed, 0], abs=0.15)
    assert np.abs(camera_motion(flow)).max() < 0.1


@pytest.mark.parametrize("shift", [0.15, 0.5])
def test_a_slow_camera_is_a_camera(shift: float) -> None:
    flow = np.tile(np.float32([shift, 0]), (*SIZE, 1))
    flow[:40] = 0  # a logo in the picture
    flow[-60:] += np.float32([0, 2])
    assert np.median(camera_motion(flow)[..., 0]) > 0.6 * shift


def test_a_frame_too_small_for_a_homography_keeps_its_flow() -> None:
    assert not camera_motion(np.ones((6, 9, 2), np.float32)).any()


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (8, 100), (100, 8), (12, 426), (20, 100), (23, 426), (31, 90), (90, 31), (32, 32)]
)
def test_small_and_narrow_frames(size: tuple[int, int], preset: str) -> None:
    frame = texture(0, (size[0], size[1] + 1))
    for camera in (False, True):
        method = OpticalFlow(preset=preset, camera=camera)
        assert not method(frame[:, 1:], frame[:, 1:]).any()
        assert method(frame[:, 1:], frame[:, :-1]).shape == (*size, 2)
    vectors = OpticalFlow(preset=preset).vectors(frame[:, 1:], frame[:, :-1])
    assert np.abs(vectors).max() < 8
    if min(size) >= 20:
        assert np.median(vectors[..., 0]) == pytest.approx(1, abs=0.3)


def test_normalisation_by_hand() -> None:
    flow = np.zeros((10, 10, 2), np.float32)
    flow[0, 0] = 100, 0  # a hundredth of the pixels: the 95th percentile is 0
    flow[0, 1] = 0, -0.75
    vectors = normalised(flow)
    assert vectors[0, 0].tolist() == [127, 0]  # clipped at 3
    assert vectors[0, 1].tolist() == [0, round(-1.5 / 3 * 127)]
    given = to_flow_input(vectors)
    assert given.dtype == torch.float32
    assert given[:, 0, 0].tolist() == [1, 0.5, 1]
    assert given[:, 0, 1].tolist() == pytest.approx([0.5, 0.25, 0.5], abs=0.01)
    assert torch.equal(given[:, 5:, 5:], no_motion(torch.zeros(1, 3, 5, 5))[0])


def test_the_input_of_bytes_is_that_of_the_same_numbers() -> None:
    pairs = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), axis=-1)
    for vectors in (pairs, pairs[::-1, ::3]):
        assert torch.equal(to_flow_input(vectors.astype(np.int8)), to_flow_input(vectors.astype(np.float32)))
    assert torch.equal(to_flow_input(pairs.astype(np.int8)[::-1, ::3]), to_flow_input(pairs[::-1, ::3]))


@given(seed=st.integers(0, 2**32))
def test_a_mirrored_flow_is_that_of_mirrored_vectors(seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(-127, 128, (3, 4, 2)).astype(np.int8)
    mirrored = (vectors * np.array([-1, 1], np.int8))[:, ::-1]
    torch.testing.assert_close(mirrored_flow(to_flow_input(vectors)[None])[0], to_flow_input(mirrored))


@pytest.mark.parametrize("angle", range(0, 360, 45))
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("min_crop", [1.0, 0.4])
def test_a_turned_crop_s_flow_is_the_flow_of_turned_crops(
    angle: int, flip: float, min_crop: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against flow computed on the two frames after both were cut out alike."""
    monkeypatch.setattr("adnet.data.augmentation.ROTATIONS", {angle: 1.0})
    frame, before, mask = moving((6, -4))
    method, augmentation = OpticalFlow(camera=False), Augmentation(SIZE, min_crop=min_crop, flip=flip)
    cut = [
        augmentation(lambda _, image=image: image, mask, np.random.default_rng(0), method(frame, before))
        for image in (frame, before)
    ]
    inside = cv2.erode(cut[0].mask.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    assert inside.sum() > 100
    expected = np.median(method(cut[0].frame, cut[1].frame)[inside].astype(np.float32), axis=0)
    got = np.median(cut[0].flow[inside], axis=0)
    cosine = got @ expected / np.linalg.norm(got) / np.linalg.norm(expected)
    assert cosine > 0.99
    # It lies where the object does: around that the world is still.
    around = cv2.dilate(cut[0].mask.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(bool)
    assert np.abs(cut[0].flow[~around]).mean() < 0.1 * np.linalg.norm(got)


def test_spoilt_flow() -> None:
    flow = np.random.default_rng(0).uniform(-60, 60, (20, 30, 2)).astype(np.float32)
    rng = np.random.default_rng
    calm = FlowAugmentation(drop=0, reverse=0, scale=(0, 0), noise=0)
    np.testing.assert_array_equal(calm(flow, rng(0)), flow)
    np.testing.assert_array_equal(replace(calm, reverse=1)(flow, rng(0)), -flow)
    assert not replace(calm, drop=1)(flow, rng(0)).any()
    ratios = [(replace(calm, scale=(-1.2, 0.5))(flow, rng(seed)) / flow).mean() for seed in range(200)]
    assert np.exp(-1.2) <= min(ratios) < 0.35
    assert 1.5 < max(ratios) <= np.exp(0.5)
    noise = [replace(calm, noise=1)(flow, rng(seed)) - flow for seed in range(50)]
    assert all(one.any() for one in noise)
    assert 5 < np.mean([one.std() for one in noise]) < 127 / 6
    drops = sum(not FlowAugmentation()(flow, rng(seed)).any() for seed in range(400))
    assert abs(drops / 400 - 0.3) < 5 * (0.3 * 0.7 / 400) ** 0.5


def test_the_first_frame_has_the_flow_to_the_next_turned(tiny_davis: Path) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    method = OpticalFlow()
    first, second = (read_frame(path) for path in sequence.frames[:2])
    flow = SequenceFlow(method)
    np.testing.assert_array_equal(flow(sequence, 0), -method(first, second))
    np.testing.assert_array_equal(flow(sequence, 1), method(second, first))


def test_the_cache_is_filled_once_and_knows_frames_and_settings(
    tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "DAVIS"
    shutil.copytree(tiny_davis, root)
    dataset = davis2016(root, "train")
    frames = sum(len(sequence.frames) for sequence in dataset.sequences)
    flow = SequenceFlow(OpticalFlow(), str(tmp_path / "cache"))
    expected = SequenceFlow(OpticalFlow())(dataset.sequences[0], 1)
    flow.fill(dataset.sequences, workers=2)
    files = sorted((tmp_path / "cache").rglob("*"))
    assert len([file for file in files if file.suffix == ".npy"]) == frames

    computed: list[int] = []
    original = OpticalFlow.__call__

    def counting(self: OpticalFlow, frame: np.ndarray, neighbour: np.ndarray) -> np.ndarray:
        computed.append(1)
        return original(self, frame, neighbour)

    monkeypatch.setattr(OpticalFlow, "__call__", counting)
    flow.fill(dataset.sequences, workers=1)
    np.testing.assert_array_equal(flow(dataset.sequences[0], 1), expected)
    assert not computed
    # A changed frame has two flows, to the one before and from the one after; another setting has them all.
    changed = dataset.sequences[0].frames[2]
    shutil.copy(dataset.sequences[1].frames[2], changed)
    flow.fill(dataset.sequences, workers=1)
    assert len(computed) == 2
    replace(flow, method=OpticalFlow(camera=False)).fill(dataset.sequences, workers=1)
    assert len(computed) == 2 + frames


def test_only_what_is_asked_for_is_computed_and_read(
    tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a video whose every second frame is annotated, a training needs every second flow."""
    sparse = [
        replace(sequence, annotations={stem: file for stem, file in sequence.annotations.items() if int(stem) % 2 == 0})
        for sequence in davis2016(tiny_davis, "train").sequences
    ]
    read: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: (read.append(file), read_bytes(file))[1])
    flow = SequenceFlow(OpticalFlow(), tmp_path / "cache")
    flow.fill(sparse, workers=1, annotated=True)
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) == sum(len(sequence.annotations) for sequence in sparse) == 4
    assert read
    read.clear()
    flow.fill(sparse, workers=1, annotated=True)
    assert not read
    flow.fill(sparse, workers=1)
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) == 8


@pytest.mark.parametrize(("name", "value"), [("adnet.data.flow._VERSION", _VERSION + 1), ("cv2.__version__", "4.14.0")])
def test_the_cache_of_another_computation_is_not_read(
    tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    flow = SequenceFlow(OpticalFlow(), tmp_path / "cache")
    flow(sequence, 1)
    monkeypatch.setattr(name, value)
    monkeypatch.setattr("adnet.data.flow.normalised", lambda _: np.ones((4, 4, 2), np.int8))
    np.testing.assert_array_equal(flow(sequence, 1), np.ones((4, 4, 2)))


def test_the_cache_may_be_below_the_home_folder(
    tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    sequence = davis2016(tiny_davis, "train").sequences[0]
    SequenceFlow(OpticalFlow(), "~/cache")(sequence, 1)
    assert [path.suffix for path in (tmp_path / "home" / "cache").rglob("*") if path.is_file()] == [".npy"]


def test_a_damaged_file_in_the_cache_is_computed_again(tiny_davis: Path, tmp_path: Path) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    flow = SequenceFlow(OpticalFlow(), tmp_path / "cache")
    whole = flow(sequence, 1)
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for content in (b"", file.read_bytes()[:200], b"no array"):
        file.write_bytes(content)
        np.testing.assert_array_equal(flow(sequence, 1), whole)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [file]


def test_a_disk_without_room_is_an_error_that_commands_know(tiny_davis: Path, tmp_path: Path) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # no file may be larger
    try:
        with pytest.raises(OSError, match="too large") as caught:
            SequenceFlow(OpticalFlow(), tmp_path / "cache")(sequence, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_sequence_of_one_frame_has_no_motion(tiny_davis: Path, tmp_path: Path) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    alone = replace(sequence, frames=sequence.frames[:1])
    flow = SequenceFlow(OpticalFlow(), tmp_path / "cache")
    flow.fill([alone], workers=1)
    vectors = to_flow_input(flow(alone, 0))
    assert torch.equal(vectors, no_motion(vectors[None])[0])
    assert not (tmp_path / "cache").exists()


def test_no_flow_is_no_motion_in_any_frame(tiny_davis: Path) -> None:
    sequence = davis2016(tiny_davis).sequences[0]
    for flow in (SequenceFlow(NoFlow())(sequence, 1), NoFlow()(*map(read_frame, sequence.frames[:2]))):
        assert not flow.any()
        given = to_flow_input(flow)[None]
        torch.testing.assert_close(given, no_motion(given))


def test_mistakes(tiny_davis: Path) -> None:
    with pytest.raises(UserError, match="a frame is 240x160 and the next 160x240"):
        OpticalFlow()(texture(), texture().transpose(1, 0, 2))
    sequence = davis2016(tiny_davis, "train").sequences[0]
    gone = replace(sequence, frames=(Path("gone.jpg"), *sequence.frames[1:]))
    with pytest.raises(UserError, match=r"cannot read the image gone\.jpg: No such file"):
        SequenceFlow(OpticalFlow(), "cache")(gone, 1)
