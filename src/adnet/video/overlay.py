"""Draw masks over frames, and write a video of that."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnet.data.masks import Mask
from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.shared.files import replacing
from adnet.shared.machine import need_extra
from adnet.video.file import BT601, BT709, is_hd

with suppress(ModuleNotFoundError):  # the extra `video`
    import av
    from av.video.stream import VideoStream

COLOUR = np.array([0xE0, 0x1E, 0x84])  # magenta: rare in nature, and distinct from white for all kinds of colour vision
OPACITY = 0.45
CLOCK = 90_000  # ticks per second, as in broadcasting: a frame takes a whole number of them at all usual frame rates


def draw_overlay(image: Frame, mask: Mask) -> Frame:
    """Tint and outline `mask` `[H, W]` in a copy of `image`, RGB uint8 `[H, W, 3]`.

    Examples:
        >>> drawn = draw_overlay(np.zeros((9, 9, 3), np.uint8), np.eye(9, dtype=bool))
        >>> drawn[0, 0].tolist(), drawn[0, 1].tolist()
        ([224, 30, 132], [0, 0, 0])
    """
    drawn = image.copy()
    drawn[mask] = np.rint((1 - OPACITY) * image[mask] + OPACITY * COLOUR)
    # The outline's width is relative to the picture's size; there is none at the picture's edge.
    side = 2 * max(1, round(min(mask.shape) / 240)) + 1
    inside = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8))
    drawn[mask & (inside == 0)] = COLOUR
    return np.asarray(drawn)


def can_show(image: Frame) -> bool:
    """Return whether an `OverlayVideo` takes frames of this size: FFmpeg's H.264 has even sides of 2 to 16,384 pixels."""
    return all(1 <= side // 2 <= 8192 for side in image.shape[:2])


class OverlayVideo(ExitStack):
    """An MP4 (H.264) of `draw_overlay` with the time of each frame: `with OverlayVideo(path) as video: video.add(...)`.

    All frames are scaled to the size of the first, cropped to even sides; its pixels' aspect is kept. The colours' matrix is
    BT.709 in HD and BT.601 below, as players expect it. The file appears when the block succeeds, unless there are no frames.
    """

    def __init__(self, path: Path) -> None:
        need_extra("video", "av", "overlay=true")
        if "libx264" not in av.codecs_available:
            raise UserError("overlay=true needs FFmpeg with libx264, as the PyAV of PyPI has it: pip install av")
        super().__init__()
        self.path = path
        self._stream: VideoStream | None = None
        self._ticks = -1
        self._lasts = CLOCK // 25  # ticks of the last frame

    def add(self, image: Frame, mask: Mask, time: float, duration: float = 0.0, pixel_aspect: float = 1.0) -> None:
        """Append a frame, RGB uint8 `[H, W, 3]`, at `time` seconds, or one tick after the last frame if that is not earlier.

        It is shown until the next frame; the last one for `duration` seconds, or as long as the one before if that is 0.
        `pixel_aspect` is the width of a pixel divided by its height.
        """
        if self._stream is None:
            self._stream = self._open(image, pixel_aspect)
        size = (self._stream.width, self._stream.height)
        drawn = draw_overlay(image, mask)[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if drawn.shape[1::-1] != size:
            drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = "ITU709" if self._stream.colorspace == BT709 else "ITU601"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), "rgb24").reformat(
            format="yuv420p", src_color_range="JPEG", dst_colorspace=matrix, dst_color_range="MPEG"
        )
        ticks = max(round(time * CLOCK), self._ticks + 1)
        if duration or self._ticks >= 0:
            self._lasts = round(duration * CLOCK) or ticks - self._ticks
        self._ticks = frame.pts = ticks
        frame.time_base = Fraction(1, CLOCK)
        self._write(self._stream, frame)

    def _open(self, image: Frame, pixel_aspect: float) -> VideoStream:
        if not can_show(image):
            shown = f"{image.shape[1]}x{image.shape[0]}"
            raise UserError(f"no overlay of a video of {shown} pixels; leave overlay=true out")
        draft = self.enter_context(replacing(self.path))
        container = av.open(str(draft), "w", format="mp4")
        self.callback(container.close)
        stream: VideoStream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = (side // 2 * 2 for side in image.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect).limit_denominator(255)
        stream.color_primaries = stream.color_trc = BT709
        stream.colorspace = BT709 if is_hd(stream.width, stream.height) else BT601
        stream.color_range = 1  # limited
        # Without B-frames, frames are stored in display order, so that the last packet is the last frame's.
        stream.options = {"crf": "18", "preset": "veryfast", "bf": "0"}
        self.push(self._flush)
        return stream

    def _flush(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._stream:  # PyAV crashes if it is to go on after a full disk has refused the header
            self._write(self._stream, None)

    def _write(self, stream: VideoStream, frame: av.VideoFrame | None) -> None:
        """Write the packets of a frame; None: those of frames that are still buffered."""
        container: Any = stream.container
        for packet in stream.encode(frame):
            packet.duration = self._lasts  # counts only for the last packet: others end where the next begins
            container.mux(packet)
