"""Times of a video's frames, which rise from frame to frame whatever the file says."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

JUMP = 10.0
"""Seconds. As in FFmpeg, a longer gap in a format that may set its clock anew is another recording."""


class FrameTimes:
    """Turn frames, in display order, into rising times in seconds since the start of their file.

    A video that starts after its sound starts late. Where the file's clock goes back by more than a second, as at the seam of
    joined recordings, or where it tells no time, a frame follows the one before after the time that that one lasts. Where it
    goes back by less, or stands still, after half of that time, until the clock is right again.

    Args:
        container, stream: an open file and the stream that the frames are from.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        import av

        flags: Any = av.format.Flags
        self.origin = 0.0
        """What the file's clock shows at time 0."""
        self._rate = stream.average_rate or Fraction(25)
        # AVI holds no display times; what FFmpeg makes up for them is out of order if there are B-frames.
        self._decoding_order = container.format.name == "avi"
        self._clock_resets = bool(container.format.flags & flags.ts_discont.value)
        tracks = (*container.streams.audio, *container.streams.video)
        starts = [float(t.start_time * t.time_base) for t in tracks if t.start_time is not None and t.time_base]
        if starts and (self._clock_resets or min(starts) > JUMP):
            self.origin = min(starts)
        self._shift: float | None = None
        self._time = self.end = 0.0  # of the frame before

    def __call__(self, frame: av.VideoFrame) -> tuple[float, float]:
        """Return the time of the next frame, and how long it lasts as far as is known."""
        ticks = frame.dts if self._decoding_order else frame.pts
        given = None if ticks is None or frame.time_base is None else float(ticks * frame.time_base)
        lasts = float(1 / self._rate)
        if self._shift is None:
            late = 0.0 if given is None or self._decoding_order else max(given - self.origin, 0.0)
            time = 0.0 if self._clock_resets and late > JUMP else late
            self._shift = 0.0 if given is None else time - given
        else:
            time = self._after(given, self._shift)
            by_the_clock = given is not None and time == given + self._shift
            lasts = (time if by_the_clock else self.end) - self._time
        if frame.duration and frame.time_base and not self._decoding_order:
            lasts = float(frame.duration * frame.time_base)
        self._time, self.end = time, time + lasts
        return time, lasts

    def _after(self, given: float | None, shift: float) -> float:
        """Return the time of a frame after another one."""
        if given is None:
            return self.end
        time = given + shift
        if time < self._time - 1 or (self._clock_resets and time > self._time + JUMP):
            self._shift, time = self.end - given, self.end  # another recording
        return time if time > self._time else self._time + (self.end - self._time) / 2
