from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from videos import pictures

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
