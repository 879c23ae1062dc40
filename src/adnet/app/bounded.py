"""A video that ends at the limits of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adnet.errors import UserError
from adnet.video.file import VideoFrame
from adnet.video.sources import VideoSource


@dataclass(frozen=True)
class Bounded:
    """The first `max_frames` frames of `source`.

    `frames()` raises UserError if a frame has more than `max_pixels` pixels, as soon as the video is `unwanted`, and AFTER the
    last frame (like other sources) if `source` has more.
    """

    source: VideoSource
    max_frames: int
    max_pixels: int
    unwanted: Callable[[], bool]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def live(self) -> bool:
        return self.source.live

    def length(self) -> int | None:
        length = self.source.length()
        return None if length is None else min(length, self.max_frames)

    def content(self) -> dict[str, Any] | None:
        return self.source.content()

    def frames(self) -> Iterator[VideoFrame]:
        frames = self.source.frames()
        for frame in islice(frames, self.max_frames):
            if self.unwanted():
                raise UserError("nobody is waiting for this video any more")
            height, width = frame.image.shape[:2]
            if height * width > self.max_pixels:
                raise UserError(
                    f"{self.name} has frames of {width} x {height}, {height * width / 1e6:.1f} megapixels; "
                    f"at most {self.max_pixels / 1e6:g} are allowed here (max_megapixels)"
                )
            yield frame
        if next(frames, None):
            raise UserError(
                f"{self.name} is longer than the {self.max_frames} frames that are allowed here (max_frames)"
            )
