"""Made-up flow in files, whose true vectors are known; the files are written by OpenCV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adnet.data.flow import NO_MOTION, OpticalFlow, SequenceFlow, camera_motion, normalised, reduced
from adnet.data.flow_folder import FlowFolder, read_flow
from adnet.data.videos import Video
from adnet.errors import UserError

SIZE = (48, 80)
NAMES = ("00000", "00001", "00002", "00003")


def field(seed: int = 0) -> np.ndarray:
    """Smooth flow of a few pixels."""
    coarse = np.random.default_rng(seed).normal(0, 4, (3, 4, 2)).astype(np.float32)
    return cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def write(file: Path, flow: np.ndarray, valid: np.ndarray | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".flo":
        cv2.writeOpticalFlow(str(file), flow)
        return file
    known = np.ones(flow.shape[:2]) if valid is None else valid
    red, green = (np.rint(flow[..., channel] * 64 + 2**15) for channel in (0, 1))
    cv2.imwrite(str(file), np.dstack([known, green, red]).astype(np.uint16))  # blue, green, red
    return file


@pytest.fixture
def bear(tmp_path: Path) -> Video:
    """A sequence of four frames, with flow for all but the first."""
    frames = []
    for index, name in enumerate(NAMES):
        frames.append(tmp_path / "frames" / f"{name}.png")
        frames[-1].parent.mkdir(exist_ok=True)
        Image.new("RGB", SIZE[::-1], (index, 0, 0)).save(frames[-1])
        if index:
            write(tmp_path / "flow" / "bear" / f"{name}.flo", field(index))
    return Video("bear", tuple(frames), {})


@given(seed=st.integers(0, 2**32))
def test_both_encodings_are_read(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder, flow = tmp_path_factory.mktemp("flow"), field(seed)
    for suffix, accuracy in ((".flo", 0), (".png", 1 / 127)):
        got, valid = read_flow(write(folder / f"a{suffix}", flow))
        assert (got.dtype, valid.all()) == (np.float32, True)
        np.testing.assert_allclose(got, flow, rtol=0, atol=accuracy)


def test_unknown_flow_is_none(tmp_path: Path) -> None:
    flow, valid = field(), np.ones(SIZE, bool)
    valid[:20, 30:] = False
    spoilt = flow.copy()
    spoilt[~valid] = 1e10
    spoilt[0, 79] = np.nan
    for file in (write(tmp_path / "a.flo", spoilt), write(tmp_path / "a.png", flow, valid)):
        got, known = read_flow(file)
        np.testing.assert_array_equal(known, valid)
        assert not got[~valid].any()
        vectors = FlowFolder("")._vectors(file, SIZE)  # nor is the camera's motion taken off it
        assert not vectors[~valid].any()
        assert vectors[valid].any()


def unknown(size: tuple[int, int], kind: str) -> np.ndarray:
    """Where flow is unknown: 60 % of the pixels here and there, or a block of 65 %."""
    if kind == "scattered":
        return np.random.default_rng(0).random(size) < 0.6
    columns = np.arange(size[1]) < 0.65 * size[1]
    return np.broadcast_to(columns, size)


@pytest.mark.parametrize("kind", ["scattered", "block"])
@pytest.mark.parametrize("height", [160, 40])
def test_the_camera_s_motion_is_that_of_known_flow(tmp_path: Path, kind: str, height: int) -> None:
    """Also where it is reduced: a pixel's flow is the mean of what is known there."""
    flow, valid = np.zeros((160, 240, 2), np.float32), ~unknown((160, 240), kind)
    flow[...] = 8, -4  # the camera
    flow[40:80, 180:200] = 14, 0
    vectors = FlowFolder("", height=height)._vectors(write(tmp_path / "a.png", flow, valid), valid.shape)
    step = 160 // height
    known = valid.reshape(height, step, -1, step).any((1, 3))
    thing = np.zeros_like(known)
    thing[40 // step : 80 // step, 180 // step : 200 // step] = True
    assert not vectors[~known].any()
    assert not vectors[known & ~thing].any()
    # Less than a 20th of the known pixels moves where they are scattered: the percentile is 0, else it is that of (6, 4).
    left = np.array([6, 4]) / step
    scale = 0.5 + (kind == "block") * np.hypot(*left)
    expected = np.rint(np.clip(left / scale, -3, 3) * 127 / 3)
    np.testing.assert_allclose(
        vectors[known & thing], np.broadcast_to(expected, (int((known & thing).sum()), 2)), atol=1
    )


def test_flow_without_a_known_pixel_is_no_motion(tmp_path: Path) -> None:
    vectors = FlowFolder("")._vectors(write(tmp_path / "a.png", field(), np.zeros(SIZE)), SIZE)
    np.testing.assert_array_equal(vectors, np.zeros((*SIZE, 2), np.int8))


@given(seed=st.integers(0, 2**32))
def test_wholly_known_flow_is_what_it_is_without_a_mask(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """To the bit, also where the reduction does not divide the height."""
    flow = cv2.resize(field(seed), (200, 110), interpolation=cv2.INTER_CUBIC)
    file = write(tmp_path_factory.mktemp("flow") / "a.flo", flow)
    small = reduced(flow, 48) * np.float32(48 / 110)
    motion = camera_motion(small)
    np.testing.assert_array_equal(camera_motion(small, np.ones(small.shape[:2], bool)), motion)
    np.testing.assert_array_equal(FlowFolder("", height=48)._vectors(file, (110, 200)), normalised(small - motion))


@pytest.mark.parametrize("suffix", [".flo", ".png"])
def test_flow_is_normalised_less_the_camera_s(bear: Video, tmp_path: Path, suffix: str) -> None:
    plain = FlowFolder(tmp_path / "flow", camera=False)
    for file in (tmp_path / "flow" / "bear").iterdir():
        file.unlink()
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[...] = 6, -2  # the camera
    flow[16:32, 20:40] = 9, 3
    for name in NAMES[1:]:
        write(tmp_path / "flow" / "bear" / f"{name}{suffix}", flow)
    np.testing.assert_array_equal(SequenceFlow(plain)(bear, 1), normalised(flow))
    left = SequenceFlow(replace(plain, camera=True))(bear, 1)
    np.testing.assert_array_equal(left, normalised(flow - np.float32([6, -2])))
    turned = SequenceFlow(replace(plain, to="next"))(bear, 1)
    np.testing.assert_array_equal(turned, -normalised(flow))


def test_larger_flow_is_reduced(bear: Video, tmp_path: Path) -> None:
    """Smooth flow says the same at half the size."""
    whole = SequenceFlow(FlowFolder(tmp_path / "flow", camera=False))(bear, 2).astype(int)
    half = SequenceFlow(FlowFolder(tmp_path / "flow", camera=False, height=24))(bear, 2)
    assert half.shape == (24, 40, 2)
    assert (
        np.abs(whole.reshape(24, 2, 40, 2, 2).mean((1, 3)) - half).max() < 12
    )  # of 127; half a pixel counts for more there


def test_the_frame_without_a_neighbour_may_be_without_flow(bear: Video, tmp_path: Path) -> None:
    flow = SequenceFlow(FlowFolder(tmp_path / "flow"))
    np.testing.assert_array_equal(flow(bear, 0), NO_MOTION)
    forwards = SequenceFlow(FlowFolder(tmp_path / "flow", to="next"))
    with pytest.raises(UserError, match=r"no optical flow of frame 00000 in .*bear: add 00000\.flo or 00000\.png"):
        forwards.fill([bear], workers=1)
    (tmp_path / "flow" / "bear" / "00003.flo").rename(tmp_path / "flow" / "bear" / "00000.flo")
    forwards.fill([bear], workers=1)
    np.testing.assert_array_equal(forwards(bear, 3), NO_MOTION)
    with pytest.raises(UserError, match="no optical flow of frame 00003 in"):
        flow(bear, 3)  # nor does a call without the check before take it for no motion
    alone = replace(bear, name="image", frames=bear.frames[:1])
    np.testing.assert_array_equal(flow(alone, 0), NO_MOTION)  # and needs no folder


def test_the_cache_knows_files_and_settings(bear: Video, tmp_path: Path) -> None:
    flow = SequenceFlow(FlowFolder(tmp_path / "flow", camera=False), tmp_path / "cache")
    flow.fill([bear], workers=2)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(files) == 3
    expected = SequenceFlow(FlowFolder(tmp_path / "flow", camera=False))
    np.testing.assert_array_equal(flow(bear, 1), expected(bear, 1))
    write(tmp_path / "flow" / "bear" / "00001.flo", field(9))
    np.testing.assert_array_equal(flow(bear, 1), expected(bear, 1))
    small = SequenceFlow(FlowFolder(tmp_path / "flow", camera=False, height=16), tmp_path / "cache")
    assert small(bear, 1).shape == (16, 27, 2)
    computed = SequenceFlow(OpticalFlow(), tmp_path / "cache")
    np.testing.assert_array_equal(computed(bear, 1), SequenceFlow(OpticalFlow())(bear, 1))
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_folder_is_listed_once(bear: Video, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each frame: that would be quadratic in a long video."""
    listed: list[Path] = []
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path) or listing(path))
    flow = SequenceFlow(FlowFolder(tmp_path / "flow"), tmp_path / "cache")
    flow.fill([bear], workers=1)
    assert [flow(bear, index).shape for index in range(1, 4)] == [(*SIZE, 2)] * 3
    assert listed.count(tmp_path / "flow" / "bear") == 1


def test_mistakes_are_one_line_before_training(bear: Video, tmp_path: Path) -> None:
    flow = SequenceFlow(FlowFolder(tmp_path / "flow"), tmp_path / "cache")
    folder = tmp_path / "flow" / "bear"

    def mistake() -> str:
        with pytest.raises(UserError) as error:
            flow.fill([bear], workers=1)
        assert "\n" not in str(error.value)
        return str(error.value)

    write(folder / "00004.flo", field())
    assert f"{folder} has flow of 4 frames, including 00004, which is not among the 4 frames of bear" in mistake()
    (folder / "00004.flo").unlink()
    write(folder / "00002.flo", field()[:, :60])
    assert mistake() == f"{folder}/00002.flo is 60x48 and its frame 80x48, both upright: resize one"
    (folder / "00002.flo").write_bytes((folder / "00001.flo").read_bytes()[:-8])
    assert mistake() == f"cannot read {folder}/00002.flo: it is not a complete .flo file; replace it"
    (folder / "00002.flo").unlink()
    assert mistake() == f"no optical flow of frame 00002 in {folder}: add 00002.flo or 00002.png"
    Image.new("RGB", SIZE[::-1]).save(folder / "00002.png")
    assert mistake().startswith(f"cannot read {folder}/00002.png: it is not a 16-bit PNG of three channels")
    folder.rename(tmp_path / "flow" / "bears")
    assert mistake() == f"no folder {folder} with the optical flow of bear: set flow.method.root"
