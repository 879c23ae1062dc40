from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from videos import pictures

from adnet.video.file import VideoFile


def write(path: Path, number: int, b_frames: int, start: float = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuv420p"
        stream.options = {"bf": str(b_frames), "b-adapt": "0", "g": "30"}
        for index, image in enumerate(pictures(50) * (number // 50)):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = index + round(25 * start)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[float]:
    return [frame.time for frame in VideoFile("clip", path).frames()]


def test_joined_recordings_follow_one_another(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.ts", 50, 2)
    path.write_bytes(path.read_bytes() * 2)
    np.testing.assert_allclose(times(path), np.arange(100) / 25, atol=1e-4)


def test_so_do_those_with_a_long_gap_in_the_clock(tmp_path: Path) -> None:
    path = write(tmp_path / "clip.ts", 50, 2)
    path.write_bytes(path.read_bytes() + write(tmp_path / "later.ts", 50, 2, start=3600).read_bytes())
    np.testing.assert_allclose(times(path), np.arange(100) / 25, atol=1e-4)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv", ".ts", ".h264"])
def test_b_frames(tmp_path: Path, suffix: str) -> None:
    """In AVI, which holds no display times, and in H.264 alone, which holds none at all, too."""
    path = write(tmp_path / f"clip{suffix}", 100, 3)
    np.testing.assert_allclose(times(path), np.arange(100) / 25, atol=2e-3)


def test_a_file_that_begins_hours_into_a_stream(tmp_path: Path) -> None:
    for suffix in (".mkv", ".mp4", ".ts"):
        path = write(tmp_path / f"clip{suffix}", 50, 0, start=7200)
        np.testing.assert_allclose(times(path), np.arange(50) / 25, atol=2e-3)


@pytest.mark.parametrize("stuck", [[48, 48, 48, 48], [49, 49, 49], [48, 49]])
def test_a_short_step_back_moves_nothing_for_long(tmp_path: Path, stuck: list[int]) -> None:
    """As of files that FFmpeg's concat demuxer joined: sound would be late for all the rest."""
    clock = [*range(50), *stuck, *range(50, 100)]
    picture = BytesIO()
    Image.fromarray(pictures(1)[0]).save(picture, "JPEG")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuvj420p"
        for index, pts in enumerate(clock):
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, pts, index - 20, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    found = np.array(times(tmp_path / "clip.mkv"))
    assert len(found) == len(clock)
    assert (np.diff(found) > 0.001).all()
    expected = np.array(clock) / 25
    np.testing.assert_allclose(found[:50], expected[:50], atol=2e-3)
    np.testing.assert_allclose(found[-40:], expected[-40:], atol=2e-3)
