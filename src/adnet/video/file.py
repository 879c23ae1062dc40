"""Read the frames of a video file, of any codec that PyAV (FFmpeg) knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.shared.extras import need_extra
from adnet.shared.files import sha256

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


class VideoFrame(NamedTuple):
    """A frame: `name`, also of its mask; `image`, RGB uint8 `[H, W, 3]`, upright; `time` in seconds since the first frame."""

    name: str
    image: Frame
    time: float


@dataclass(frozen=True)
class VideoFile:
    """The first video stream of a file. Needs the extra `video`."""

    name: str
    path: Path
    live = False

    def length(self) -> int | None:
        """Return the frame count in the header, or estimate it from duration and mean rate; None if neither is known."""
        try:
            with _opened(self.path) as (container, stream):
                if stream.frames or not stream.average_rate:
                    return stream.frames or None
                duration = _duration(container, stream)
                return None if duration is None else round(duration * float(stream.average_rate))
        except UserError:
            return None

    def content(self) -> dict[str, Any] | None:
        # A device or a pipe can be read only once.
        return {"sha256": sha256(self.path)} if self.path.is_file() else None

    def frames(self) -> Iterator[VideoFrame]:
        """Yield every frame that can be decoded, named by its number ("00000"), with its own timestamp (variable frame rate)
        and rotated as its metadata say.

        Raises UserError if the file cannot be opened, and AFTER the last frame if something is damaged or the file ends before
        its stated duration.
        """
        damaged: list[str] = []  # packets
        flawed: list[str] = []  # frames, as far as the decoder can tell
        index, start, end = 0, 0.0, 0.0
        with _opened(self.path) as (container, stream):
            rate = stream.average_rate or Fraction(25)
            for frame in _decoded(container, stream, damaged):
                time = float(index / rate) if frame.time is None else frame.time
                start = time if index == 0 else start
                flawed += [f"{index:05d}"] * frame.is_corrupt
                yield VideoFrame(f"{index:05d}", _upright(frame), time - start)
                length = frame.duration * frame.time_base if frame.duration and frame.time_base else 1 / rate
                index, end = index + 1, time - start + float(length)
            duration = _duration(container, stream)
        # The two may differ by a few frames in intact files.
        missing = 0.0 if duration is None else duration - end
        reasons = [
            f"{len(flawed)} frames have errors, first {flawed[0]}" if flawed else "",
            f"{len(damaged)} packets can't be decoded, first {damaged[0]}" if damaged else "",
            f"the last {missing:.1f} s of {duration:.1f} s are missing" if missing > 0.5 else "",
        ]
        if any(reasons):
            raise UserError(
                f"{self.path} is damaged ({index} frames could be read): {'; '.join(filter(None, reasons))}"
            )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    need_extra("video", "av", f"{path}, a video and not images,")
    import av

    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"cannot read the video {path}: {_reason(error)}") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path} has no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        yield container, stream


def _decoded(container: InputContainer, stream: VideoStream, damaged: list[str]) -> Iterator[av.VideoFrame]:
    """Yield all frames; append a line to `damaged` for each packet that cannot be decoded."""
    import av

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
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            at = packet.pts * packet.time_base if packet.pts is not None and packet.time_base else None
            damaged.append(_reason(error) + ("" if at is None else f" at {float(at):.1f} s"))
        else:
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration of the video stream in seconds, or None; the container's duration may be another stream's."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if text := stream.metadata.get("DURATION"):  # Matroska's, "00:00:03.140000000"
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def _upright(frame: av.VideoFrame) -> Frame:
    """Return the frame in RGB, rotated and mirrored by its display matrix: (x', y') = (a x + c y, b x + d y)."""
    image = frame.to_ndarray(format="rgb24")
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if abs(a) < abs(b):
            image, a, d = image.transpose(1, 0, 2), c, b
        image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
