"""Read the frames of a video file, of any codec that PyAV (FFmpeg) knows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adnet.data.hdr import HLG, PQ, tone_mapped
from adnet.data.pictures import AS_OF_12_BITS, TWELVE_BITS, Frame
from adnet.errors import UserError
from adnet.shared.files import sha256
from adnet.shared.machine import need_extra

with suppress(ModuleNotFoundError):  # the extra `video`, which `_opened` asks for
    import av
    from av.codec.context import Flags
    from av.container import InputContainer
    from av.sidedata.sidedata import Type
    from av.stream import Disposition
    from av.video.stream import VideoStream

UNSTATED, BT709, BT601 = 2, 1, 6
"""Colour matrices, as H.273 numbers them."""

JUMP = 10.0  # seconds. As in FFmpeg, a longer gap in a format that may set its clock anew is another recording


class VideoFrame(NamedTuple):
    """A frame of a video, called as its mask: RGB uint8 `[H, W, 3]`, upright.

    `time` is in seconds since the start of the file, `duration` how many it is shown, 0 if that is not known, and `pixel_aspect`
    the width of a pixel divided by its height, as a player shows it.
    """

    name: str
    image: Frame
    time: float
    duration: float = 0.0
    pixel_aspect: float = 1.0

    @property
    def shown_size(self) -> tuple[int, int]:
        """Height and width of the picture that a player shows, in pixels as high as the image's."""
        return self.image.shape[0], max(round(self.image.shape[1] * self.pixel_aspect), 1)


@dataclass(frozen=True)
class VideoFile:
    """The film in a file: the video stream that players choose, never cover art. Needs the extra `video`."""

    name: str
    path: Path
    live = False

    def length(self) -> int | None:
        """Return the frame count in the header, or estimate it from duration and mean rate; None if neither is known."""
        with suppress(UserError), _opened(self.path) as (container, stream):
            estimated = round(container.duration / 1e6 * (stream.average_rate or 0)) if container.duration else 0
            return stream.frames or estimated or None
        return None

    def content(self) -> dict[str, Any] | None:
        # A device or a pipe can be read only once.
        return {"sha256": sha256(self.path)} if self.path.is_file() else None

    def names(self) -> Iterator[str]:
        return map("{:05d}".format, count())

    def frames(self) -> Iterator[VideoFrame]:
        """Yield every frame that can be decoded, named by its number ("00000"), with its own timestamp, rotated as its metadata say.

        Warns of interlaced frames, of 16 bits that hold 12, and if the start can't be decoded because no key frame comes before it.
        Raises UserError if the file cannot be opened, if its kind of pixels isn't read, and AFTER the last frame if something is
        damaged or the file ends before its stated end.
        """
        say = logging.getLogger(__name__).warning
        damaged: list[str] = []  # packets
        flawed: list[str] = []  # frames, as far as the decoder can tell
        shown_on: list[float] = []  # until when, on the file's clock
        index, brightest, interlaced = 0, 0, False
        with _opened(self.path) as (container, stream):
            times, starts = FrameTimes(container, stream), _start(stream)
            stated = float(stream.sample_aspect_ratio or 1)
            pixel_aspect = stated if 0.25 <= stated <= 4 else 1.0  # others are implausible
            for index, frame in enumerate(_decoded(container, stream, damaged, shown_on), start=1):
                name = f"{index - 1:05d}"
                time, duration = times(frame)
                if index == 1 and starts is not None and (skipped := time + times.origin - starts) > 0.5:
                    say("%s: its first %.1f s come before the first key frame and can't be shown", self.path, skipped)
                if frame.interlaced_frame and not interlaced:
                    interlaced = True
                    hint = "masks are combed where things move; deinterlace it first (ffmpeg -i VIDEO -vf bwdif NEW)"
                    say("%s says that it is interlaced: if its frames hold two moments each, %s", self.path, hint)
                flawed += [name] * frame.is_corrupt
                image, aspect = _shown(self.path, frame, pixel_aspect)
                deep = frame.format.components[0].bits == 16
                brightest = max(brightest, int(image.max()) if deep else 255)
                yield VideoFrame(name, image, time, duration, aspect)
            end = _end(container, stream)
        if 0 < brightest <= TWELVE_BITS >> 8:  # FFmpeg rounds
            say("%s has 16 bits, but only dark values, %s", self.path, AS_OF_12_BITS)
        # The two may differ by a few frames in intact files.
        missing = 0.0 if end is None else end - max(times.origin + times.end, *shown_on[-1:], 0.0)
        reasons = [
            f"{len(flawed)} frames have errors, first {flawed[0]}" if flawed else "",
            f"{len(damaged)} packets can't be decoded, first {damaged[0]}" if damaged else "",
            f"the last {missing:.1f} s of {times.end + missing:.1f} s are missing" if missing > 0.5 else "",
        ]
        if reason := "; ".join(filter(None, reasons)):
            raise UserError(f"{self.path} is damaged ({index} frames could be read): {reason}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    need_extra("video", "av", f"{path}, a video and not images,")
    try:
        container = av.open(f"file:{path}")  # without `file:`, what is before a colon would be a protocol
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"cannot read the video {path}: {_reason(error)}") from error
    with container:
        films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not films:
            raise UserError(f"{path} has no video stream" + (", only a cover" if container.streams.video else ""))
        best = container.streams.best("video")
        stream = next((film for film in films if film is best), films[0])
        if stream.codec_context is None:
            raise UserError(f"cannot read the video {path}: FFmpeg has no decoder for its codec; convert it to H.264")
        stream.thread_type = "AUTO"
        # Otherwise FFmpeg doesn't cut off what is hidden at the left or the top, unless it is a multiple of 64 bytes wide.
        stream.codec_context.flags |= Flags.unaligned.value
        yield container, stream


def _decoded(
    container: InputContainer, stream: VideoStream, damaged: list[str], shown_on: list[float]
) -> Iterator[av.VideoFrame]:
    """Yield all frames; append a line to `damaged` for each packet that cannot be decoded.

    An empty packet, as Theora has, shows the picture before on: until when is appended to `shown_on`, in seconds of the file's clock.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            damaged.append(_reason(error))
            yield from stream.codec_context.decode(None)
            return
        if packet is None:
            return
        if packet.size == 0 and packet.pts is not None:  # without a time, it is the end
            shown_on.append(float((packet.pts + (packet.duration or 0)) * packet.time_base))
            continue
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            at = packet.pts * packet.time_base if packet.pts is not None and packet.time_base else None
            damaged.append(_reason(error) + ("" if at is None else f" at {float(at):.1f} s"))
        else:
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))


def _start(stream: VideoStream) -> float | None:
    """Return what the file's clock shows at the first packet of the stream; None if that is not known."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def _end(container: InputContainer, stream: VideoStream) -> float | None:
    """Return what the file's clock should show at the end of the video stream; None if the file does not state it.

    What FFmpeg estimates from the size or the last packets of a file proves nothing.
    """
    flags: Any = av.format.Flags
    if container.format.flags & (flags.ts_discont.value | flags.no_timestamps.value):
        return None
    # In ASF, each stream is said to last as long as the file.
    own = container.format.name != "asf" or len(container.streams) == 1
    if own and stream.duration and stream.time_base:
        return (_start(stream) or 0.0) + float(stream.duration * stream.time_base)
    if "matroska" not in container.format.name or not container.duration:
        return None
    whole = container.duration / 1e6
    if match := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "")):
        # Programs that cut a file may keep the tag, but they write the length of the file anew.
        return min(3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]), whole)
    return whole if len(container.streams) == 1 else None


def is_hd(width: int, height: int) -> bool:
    """Return whether players take frames of this size for BT.709, if nothing is stated, and not for BT.601."""
    return width >= 1280 or height > 576


def _shown(path: Path, frame: av.VideoFrame, pixel_aspect: float) -> tuple[Frame, float]:
    """Return the frame in RGB and its pixels' aspect, rotated and mirrored by its display matrix: (x', y') = (a x + c y, b x + d y).

    Raises UserError, naming `path`, for pixels of a kind that isn't read.
    """
    if frame.colorspace == UNSTATED and is_hd(frame.width, frame.height):
        frame.colorspace = BT709  # FFmpeg would take BT.601
    hdr = frame.color_trc in (PQ, HLG)
    try:
        if re.search(r"f(16|32)", frame.format.name):
            raise ValueError("floating-point numbers, as in OpenEXR")
        image: Any = frame.to_ndarray(format="rgb48" if hdr else "rgb24")
    except (av.FFmpegError, ValueError) as error:
        kind = f"{frame.format.name}, colour matrix {int(frame.colorspace)}: {_reason(error)}"
        raise UserError(f"cannot read {path}: its pixels ({kind}) are not read; convert it to 8 bits") from error
    if hdr:
        image = tone_mapped(image, frame.color_trc)
    matrix = _side_data(frame).get("DISPLAYMATRIX")
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if abs(a) < abs(b):
            image, a, d, pixel_aspect = image.transpose(1, 0, 2), c, b, 1 / pixel_aspect
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image), pixel_aspect


def _side_data(frame: av.VideoFrame) -> Any:
    """Return what comes with a frame. PyAV raises for kinds that it does not know, such as EXIF; these are left out."""
    try:
        return frame.side_data
    except ValueError:
        graph = av.filter.Graph()
        base = frame.time_base or Fraction(1)
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
        unknown = set(range(64)) - {kind.value for kind in Type}
        filters = [graph.add("sidedata", f"mode=delete:type={number}") for number in sorted(unknown)]
        graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
        graph.push(frame)
        return graph.pull().side_data


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


class FrameTimes:
    """Turn frames, in display order, into rising times in seconds since the start of their file.

    A video that starts after its sound starts late. Where the file's clock goes back by more than a second, as at the seam of
    joined recordings, or where it tells no time, a frame follows the one before after the time that that one lasts. Where it
    goes back by less, or stands still, after half of that time, until the clock is right again.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
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
            time = self.end if given is None else given + self._shift
            leaps = time < self._time - 1 or (self._clock_resets and time > self._time + JUMP)
            if leaps and given is not None:  # another recording
                self._shift, time = self.end - given, self.end
            if time <= self._time:
                time = self._time + (self.end - self._time) / 2
            by_the_clock = given is not None and time == given + self._shift
            lasts = (time if by_the_clock else self.end) - self._time
        if frame.duration and frame.time_base and not self._decoding_order:
            lasts = float(frame.duration * frame.time_base)
        self._time, self.end = time, time + lasts
        return time, lasts
