"""Videos to segment: files of any codec, folders of images, webcams."""

import glob
import logging
import re
import time
import typing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from os.path import commonpath
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnet.data.pictures import IMAGES, count_pictures, read_frames
from adnet.data.videos import lying_in, natural_order
from adnet.errors import UserError
from adnet.shared.files import files_sha256, from_home
from adnet.video.file import VideoFile, VideoFrame

VIDEOS = frozenset(
    {".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
)
VIDEOS |= {".264", ".265", ".3g2", ".3gp", ".asf", ".divx", ".dv", ".f4v", ".h264", ".h265", ".hevc", ".ivf", ".m1v"}
VIDEOS |= {".m2t", ".m2v", ".mjpeg", ".mjpg", ".mpe", ".nut", ".ogm", ".qt", ".rm", ".rmvb", ".trp", ".ts", ".vob"}
VIDEOS |= {".webm", ".wmv", ".y4m"}


class VideoSource(typing.Protocol):
    """A video to segment. A `live` one has no end and cannot be read again."""

    @property
    def name(self) -> str: ...

    @property
    def live(self) -> bool: ...

    def length(self) -> int | None:
        """Return about how many frames there are; None if that is not known without reading them."""
        return None

    def content(self) -> dict[str, Any] | None:
        """Return plain values that identify the content of this video; None if it cannot be known beforehand."""
        return None

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames in time order. Raises UserError AFTER the last readable one if some cannot be read."""
        ...

    def names(self) -> Iterator[str]:
        """Yield the names that `frames` gives, without reading them; if their number isn't known, without end."""
        return map("{:05d}".format, count())


@dataclass(frozen=True)
class Images:
    """Images in time order, as a video of `fps` frames a second, or a single file with the pictures of an animation or a stack.

    The pictures of a file with several are named by their numbers ("00000"), and shown as long as it says.
    """

    name: str
    paths: tuple[Path, ...]
    fps: float
    live = False

    def length(self) -> int:
        return len(self.paths) if len(self.paths) > 1 else count_pictures(self.paths[0])

    def content(self) -> dict[str, Any]:
        return {"sha256": files_sha256(self.paths), "fps": self.fps}

    def names(self) -> Iterator[str]:
        single = self.length() == len(self.paths)
        return (path.stem for path in self.paths) if single else map("{:05d}".format, range(self.length()))

    def frames(self) -> Iterator[VideoFrame]:
        single = self.length() == len(self.paths)
        unreadable = []
        untimed, timed = 0, 0.0  # pictures that are shown for 1 / fps, and the seconds of those that say how long
        for path in self.paths:
            try:
                for index, (image, seconds) in enumerate(read_frames(path)):
                    name, time = path.stem if single else f"{index:05d}", untimed / self.fps + timed
                    yield VideoFrame(name, image, time, 1 / self.fps if seconds is None else seconds)
                    untimed, timed = untimed + (seconds is None), timed + (seconds or 0)
            except UserError as error:
                unreadable.append(str(error))
        if unreadable:
            raise UserError(f"{len(unreadable)} of {len(self.paths)} images can't be read: {unreadable[0]}")


@dataclass(frozen=True)
class Webcam(VideoSource):
    """The camera with the number `index`, until it is stopped."""

    index: int
    live = True

    @property
    def name(self) -> str:
        return f"webcam{self.index}"

    def frames(self) -> Iterator[VideoFrame]:
        # Open it here, in the caller's thread: macOS asks for permission in the main thread only, and frames may be read in another.
        return self._read(cv2.VideoCapture(self.index))

    def _read(self, camera: cv2.VideoCapture) -> Iterator[VideoFrame]:
        count = 0
        try:
            started = time.monotonic()
            while (answer := camera.read())[0]:
                yield VideoFrame(f"{count:05d}", np.ascontiguousarray(answer[1][..., ::-1]), time.monotonic() - started)
                count += 1
        finally:
            camera.release()
        stopped = f"the webcam {self.index} stopped after {count} frames"
        raise UserError(stopped if count else f"no webcam answers as {self.index}")


def video_sources(given: str | int | Sequence[str | int], fps: float = 24) -> list[VideoSource]:
    """Find the videos that `given` names, at least one.

    A number is a webcam. A file is a video or an image; an image file with several pictures (an animation, a stack) is a video.
    A folder is one video made of its images (in natural order: 2 before 10), at `fps` frames per second, and videos beside them
    are left out with a warning; a folder without images means the videos in it. A glob (`**` for any depth) means everything
    that it matches, where the images of one folder are one video. A list means all of its items.

    Each video gets a unique name: the name of its file without the suffix, or of its folder, with more of the path if two would
    be the same. Raises UserError if nothing is found, and if two images of a video have the same name.

    Examples:
        >>> from PIL import Image
        >>> Image.new("RGB", (80, 48)).save("frame.png")
        >>> [frame.name for frame in video_sources("frame.png")[0].frames()]
        ['frame']
    """
    parts = [given] if isinstance(given, (str, int)) else list(given)
    webcams = [Webcam(int(part)) for part in parts if str(part).isdecimal() and not Path(str(part)).exists()]
    paths = [path for part in map(str, parts) if not part.isdecimal() or Path(part).exists() for path in _matches(part)]
    sequences: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        still = path.suffix.lower() in IMAGES and count_pictures(path) == 1
        sequences.setdefault(path.parent if still else path, []).append(path)
    names = _names(sequences, paths)
    files: list[VideoSource] = [
        Images(name, _in_order(found), fps) if found[0].suffix.lower() in IMAGES else VideoFile(name, key)
        for name, (key, found) in zip(names, sequences.items(), strict=True)
    ]
    return files + webcams


def _matches(part: str) -> list[Path]:
    """Find the video and image files that an item of the input means."""
    path = from_home(part)
    if path.is_dir():
        inside = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        images, videos = ([f for f in inside if f.suffix.lower() in kind] for kind in (IMAGES, VIDEOS))
        if not images and not videos:
            raise UserError(f"no images and no videos in the folder {part}{lying_in(path, masks=False)}")
        if images and videos:  # a thumbnail, or phones' live photos
            advice = f"name those by a glob such as '{path / f'*{videos[0].suffix}'}'"
            so = "%s is read as a folder of images (%d), and not the videos in it (%d): %s"
            logging.getLogger(__name__).warning(so, part, len(images), len(videos), advice)
        return sorted(images or videos, key=natural_order)
    if path.exists():
        return [path]
    hits = sorted(map(Path, glob.glob(str(path), recursive=True)), key=natural_order)  # noqa: PTH207 (it takes absolute patterns)
    if "://" in part:
        raise UserError(f"{part} is an address: download it first")
    if not hits:
        kinds = "a video, a folder of images, a glob in quotes, or a webcam's number"
        raise UserError(f"there is no {part}; input is {kinds}")
    folders = [hit for hit in hits if hit.is_dir()]
    # Ignore other files that the pattern matches.
    files = [hit for hit in hits if hit.suffix.lower() in IMAGES | VIDEOS and not hit.is_dir()]
    found = files + [file for folder in folders for file in _matches(str(folder))]
    if not found:
        raise UserError(f"no images and no videos match {part}")
    return found


def _in_order(images: Iterable[Path]) -> tuple[Path, ...]:
    ordered = tuple(sorted(images, key=natural_order))
    stem, number = Counter(path.stem for path in ordered).most_common(1)[0]
    if number > 1:
        many = f"{ordered[0].parent} has {number} images called {stem}"
        raise UserError(f"{many}: masks are named after them; rename one")
    numbered: dict[str, Path] = {}
    for path in ordered:
        numbers = " ".join(re.findall(r"\d+", path.stem))
        if numbers and (other := numbered.setdefault(numbers, path)) != path:
            advice = "if these are two videos, or frames and masks, name one by a glob"
            same = "%s is read as one video, but %s and %s have the same number: %s"
            logging.getLogger(__name__).warning(same, path.parent, other.name, path.name, advice)
            break
    return ordered


def _names(videos: Iterable[Path], files: Collection[Path]) -> list[str]:
    resolved = [(path.resolve(), path in files) for path in videos]
    short = [path.stem if is_file else path.name for path, is_file in resolved]
    if len({*short}) == len(short):
        return short
    top = commonpath([path.parent for path, _ in resolved])
    return [path.relative_to(top).as_posix() for path, _ in resolved]
