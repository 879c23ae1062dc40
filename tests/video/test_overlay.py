from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from videos import pictures

from adnet.errors import UserError
from adnet.video.file import VideoFile
from adnet.video.overlay import COLOUR, OverlayVideo, draw_overlay

MASK = np.zeros((48, 80), bool)
MASK[10:30, 20:60] = True


def test_drawn_inside_the_mask_only() -> None:
    image = pictures(1)[0]
    drawn = draw_overlay(image, MASK)
    np.testing.assert_array_equal(drawn[~MASK], image[~MASK])
    np.testing.assert_array_equal(drawn[10, 20:60], np.tile(COLOUR, (40, 1)))  # the outline
    np.testing.assert_allclose(drawn[20, 40], 0.55 * image[20, 40] + 0.45 * COLOUR, atol=0.5)
    np.testing.assert_array_equal(draw_overlay(image, np.zeros_like(MASK)), image)
    assert draw_overlay(image, np.ones_like(MASK)).shape == image.shape


def test_times_are_kept(tmp_path: Path) -> None:
    times = [0.0, 1 / 30, 0.5, 0.5, 2.25, 1800.0]
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        for image, time in zip(pictures(6), times, strict=True):
            video.add(image, MASK, time)
    source = VideoFile("overlay", tmp_path / "overlay.mp4")
    frames = list(source.frames())
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=2e-5)
    for frame, image in zip(frames, pictures(6), strict=True):
        assert np.abs(frame.image.astype(int) - draw_overlay(image, MASK)).mean() < 6
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.mp4"]


def test_any_player_can_play_it(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        video.add(pictures(1, (49, 81))[0], np.ones((49, 81), bool), 0)
        video.add(pictures(1, (96, 160))[0], np.ones((96, 160), bool), 1)  # another size
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert [(frame.height, frame.width) for frame in container.decode(video=0)] == [(48, 80)] * 2


def test_after_a_full_disk_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full(_: OverlayVideo, __: object, frame: object) -> None:
        written.append(frame)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(OverlayVideo, "_write", full)
    with pytest.raises(OSError, match="No space"), OverlayVideo(tmp_path / "overlay.mp4") as video:
        video.add(pictures(1)[0], np.zeros((48, 80), np.bool_), 0.0)
    assert len(written) == 1  # what is still buffered would be the second
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_an_interrupted_one(tmp_path: Path) -> None:
    (tmp_path / "overlay.mp4").write_text("an earlier one")

    def interrupted() -> None:
        with OverlayVideo(tmp_path / "overlay.mp4") as video:
            video.add(pictures(1)[0], MASK, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.mp4"]
    assert (tmp_path / "overlay.mp4").read_text() == "an earlier one"


@pytest.mark.parametrize(
    ("times", "duration", "expected"), [([0, 1, 2, 3, 4], 1.0, 5), ([0], 1.0, 1), ([0, 2], 0.0, 4)]
)
def test_the_last_frame_lasts(tmp_path: Path, times: list[float], duration: float, expected: float) -> None:
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        for image, time in zip(pictures(len(times)), times, strict=True):
            video.add(image, MASK, time, duration)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.duration == pytest.approx(1e6 * expected, abs=2000)


def test_without_the_codec_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    with pytest.raises(UserError, match="overlay=true needs FFmpeg with libx264"):
        OverlayVideo(tmp_path / "overlay.mp4")


def test_a_late_start_is_kept(tmp_path: Path) -> None:
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        for index, image in enumerate(pictures(5)):
            video.add(image, MASK, 3 + index / 25, 0.5)
    frames = list(VideoFile("overlay", tmp_path / "overlay.mp4").frames())
    np.testing.assert_allclose([frame.time for frame in frames], 3 + np.arange(5) / 25, atol=1e-3)
    assert frames[-1].duration == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("aspect", [Fraction(16, 11), Fraction(64, 45), Fraction(3, 4)])
def test_pixels_keep_their_aspect(tmp_path: Path, aspect: Fraction) -> None:
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        video.add(pictures(1)[0], MASK, 0, pixel_aspect=float(aspect))
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == aspect


@pytest.mark.parametrize(
    ("size", "tag", "weights"),
    [((720, 1280), 1, (0.2126, 0.7152, 0.0722)), ((480, 854), 6, (0.299, 0.587, 0.114))],
)
def test_the_colours_are_those_that_the_file_says(
    tmp_path: Path, size: tuple[int, int], tag: int, weights: tuple[float, float, float]
) -> None:
    colours = np.array([[200, 40, 30], [30, 200, 40], [40, 30, 200], [120, 120, 120]], np.uint8)
    image = np.repeat(np.repeat(colours[None], size[1] // 4 + 1, axis=1), size[0], axis=0)[:, : size[1]]
    with OverlayVideo(tmp_path / "overlay.mp4") as video:
        video.add(image, np.zeros(size, bool), 0)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (tag, 1, 1, 1)
        levels = next(container.decode(video=0)).to_ndarray()[: size[0]]  # Y
    for number, colour in enumerate(colours):
        column = round((number + 0.5) * size[1] / 4)
        assert levels[size[0] // 2, column] == pytest.approx(16 + 219 / 255 * (colour @ np.array(weights)), abs=2)
    (frame,) = VideoFile("overlay", tmp_path / "overlay.mp4").frames()
    assert np.abs(frame.image.astype(int) - image).mean() < 2
