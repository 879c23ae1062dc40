"""Write a video with masks drawn over it."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adnet.data.overlay import draw_overlay
from adnet.data.sequence import Frame, Mask
from adnet.errors import UserError
from adnet.shared.extras import need_extra

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

CLOCK = 90_000  # ticks a second, as in broadcasting: all usual frame rates are whole numbers of them


class OverlayVideo:
    """An MP4 (H.264) of `draw_overlay` that keeps the time of each frame: `with OverlayVideo(path) as video: video.add(...)`.

    All frames are scaled to the size of the first, cut to even sides. The file appears when the block succeeds. Needs the extra
    `video`.
    """

    def __init__(self, path: Path) -> None:
        need_extra("video", "av", "overlay=true")
        import av

        self.path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")
        self._codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._ticks = -1

    def __enter__(self) -> OverlayVideo:
        return self

    def add(self, image: Frame, mask: Mask, time: float) -> None:
        """Append a frame, RGB uint8 `[H, W, 3]`, at `time` seconds, or one tick after the last frame if that is not earlier."""
        import av

        if self._stream is None or self._container is None:
            self._container, self._stream = self._opened(image)
        size = (self._stream.width, self._stream.height)
        drawn = draw_overlay(image, mask)[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        if drawn.shape[1::-1] != size:
            drawn = np.asarray(cv2.resize(drawn, size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), "rgb24")
        self._ticks = max(round(time * CLOCK), self._ticks + 1)
        frame.pts, frame.time_base = self._ticks, Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None or self._stream is None:
            return
        try:
            try:
                self._container.mux(self._stream.encode())
            finally:
                self._container.close()
            if kind is None:
                self._draft.replace(self.path)
        finally:
            self._draft.unlink(missing_ok=True)

    def _opened(self, image: Frame) -> tuple[OutputContainer, VideoStream]:
        import av

        if min(image.shape[:2]) < 2:
            raise UserError(
                f"no overlay of a video of {image.shape[0]}x{image.shape[1]} pixels; leave overlay=true out"
            )
        self._draft.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(self._draft), "w", format="mp4")
        stream: VideoStream = container.add_stream(self._codec, rate=30)  # type: ignore[assignment]
        stream.height, stream.width = (side // 2 * 2 for side in image.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        if self._codec == "libx264":
            stream.options = {"crf": "18", "preset": "veryfast"}
        else:
            stream.bit_rate = 8_000_000
        return container, stream
