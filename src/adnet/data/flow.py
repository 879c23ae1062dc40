"""Optical flow of a frame, for the motion branch. Beyond the paper.

Flow points to the previous frame; the first frame's is the negative of its flow to the next one. The camera's motion is
subtracted, and the rest divided by its 95th percentile, so that objects move about equally fast in every video.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveInt
from torch import Tensor
from tqdm.contrib.concurrent import thread_map

from adnet.data.masks import Mask
from adnet.data.pictures import Frame, check_same_size, read_frame
from adnet.data.videos import Video
from adnet.errors import UserError
from adnet.shared.arrays import read_array
from adnet.shared.files import from_home, remembered, replacing

Vectors = npt.NDArray[np.int8]
"""Normalised flow `[h, w, 2]`, to the right and down: 127 is three times the frame's 95th percentile."""

NO_MOTION: Vectors = np.zeros((2, 2, 2), np.int8)  # the flow of a frame without neighbours; flow may be of any size

CLIP = 3.0
_GRID = 8  # spacing in pixels of the points that the camera's motion is fitted to

_STILL = 0.1
"""Flow in pixels below which a point stands still: more than the error of DIS on a still picture with noise."""

_LEAST = 32
"""Sides in pixels below which OpenCV's DIS has no level to search on: it raises, or reads memory that isn't its own."""

_VERSION = 3
"""Is part of the names of cached files: raise it whenever the same files and settings come to give other vectors."""


class FlowMethod(ABC):
    """A way to get the flow of a dataset's frames; its `repr` identifies the settings."""

    def check(self, video: str, frames: list[str]) -> None:  # noqa: B027 (most methods make flow of any frames)
        """Raise UserError if there can't be flow for the `frames` of `video`, named in time order."""

    @abstractmethod
    def files(self, sequence: Video, index: int) -> tuple[tuple[Path, ...], int]:
        """Return the files that frame `index`'s flow is made from, none if it has no neighbour, and the flow's sign."""

    @abstractmethod
    def of_files(self, files: tuple[Path, ...]) -> Vectors:
        """Make the normalised flow, int8 `[h, w, 2]`, from `files`. Raises UserError if one can't be read."""


@dataclass(frozen=True)
class OpticalFlow(FlowMethod):
    """Optical flow by Dense Inverse Search (Kroeger et al., arXiv:1603.03590), which needs no weights.

    Args:
        height: in pixels; larger frames are reduced to it, keeping their aspect ratio.
        preset: OpenCV's.
        camera: subtract the camera's motion, a homography fitted to the flow by RANSAC.

    Examples:
        >>> frame = np.zeros((240, 320, 3), np.uint8)
        >>> OpticalFlow()(frame, frame).shape  # right and down, in 127ths of the largest
        (240, 320, 2)
    """

    height: PositiveInt = 240
    preset: Literal["ultrafast", "fast", "medium"] = "medium"
    camera: bool = True

    def __call__(self, frame: Frame, neighbour: Frame) -> Vectors:
        """Compute the normalised flow from `frame` to `neighbour`, as in `vectors`: int8 `[h, w, 2]`. Raises UserError for two sizes."""
        check_same_size("a frame", frame.shape[:2], "the next", neighbour.shape[:2])
        return self.of_vectors(self.vectors(frame, neighbour))

    def of_vectors(self, vectors: npt.NDArray[np.float32]) -> Vectors:
        """Normalise flow `[h, w, 2]` in pixels, without the camera's motion if `camera` says so: int8 `[h, w, 2]`."""
        return normalised(vectors - camera_motion(vectors) if self.camera else vectors)

    def files(self, sequence: Video, index: int) -> tuple[tuple[Path, ...], int]:
        """Return the frame and the previous one, and the sign 1; for the first frame, the next one and -1."""
        if len(sequence.frames) < 2:
            return (), 1
        return (sequence.frames[index], sequence.frames[index - 1 if index else 1]), 1 if index else -1

    def of_files(self, files: tuple[Path, ...]) -> Vectors:
        return self(*map(read_frame, files))

    def vectors(self, frame: Frame, neighbour: Frame) -> npt.NDArray[np.float32]:
        """Compute the flow from `frame` to `neighbour`, RGB uint8 `[H, W, 3]`: float32 `[h, w, 2]`, in its own pixels."""
        dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.preset.upper()}"))
        before, after = self.grey(frame), self.grey(neighbour)
        height, width = before.shape
        border = 0, max(_LEAST - height, 0), 0, max(_LEAST - width, 0)
        before, after = (cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE) for image in (before, after))
        return np.asarray(dis.calc(before, after, None), np.float32)[:height, :width]

    def grey(self, frame: Frame) -> npt.NDArray[np.uint8]:
        """Return the grey levels of a frame, RGB uint8 `[H, W, 3]`, at the size of its flow, `[h, w]`."""
        return reduced(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self.height)


@dataclass(frozen=True)
class NoFlow(FlowMethod):
    """No motion in any frame, to see what a network with a motion branch finds by appearance alone."""

    def __call__(self, frame: Frame, neighbour: Frame) -> Vectors:  # noqa: ARG002
        return NO_MOTION

    def files(self, sequence: Video, index: int) -> tuple[tuple[Path, ...], int]:  # noqa: ARG002
        return (), 1

    def of_files(self, files: tuple[Path, ...]) -> Vectors:  # noqa: ARG002
        return NO_MOTION


def reduced(image: npt.NDArray[Any], height: int) -> npt.NDArray[Any]:
    """Reduce an image or a field, `[H, W]` or `[H, W, K]`, to `height` rows by averaging; a smaller one is left unchanged."""
    height = min(height, image.shape[0])
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), image.dtype)


def camera_motion(flow: npt.NDArray[np.float32], known: Mask | None = None) -> npt.NDArray[np.float32]:
    """Fit a homography to `flow` `[h, w, 2]` by RANSAC, and return the flow that it alone would cause, `[h, w, 2]`.

    It is fitted only where the flow is `known` `[h, w]`; None: everywhere. Returns zeros if none fits or the camera stands still.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[_GRID // 2 : height : _GRID, _GRID // 2 : width : _GRID]
    if known is not None:
        rows, columns = rows[known[rows, columns]], columns[known[rows, columns]]
    points = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32)
    if len(points) < 4:
        return np.zeros_like(flow)
    cv2.setRNGSeed(0)
    moved = points + flow[rows, columns].reshape(-1, 2)
    homography, _ = cv2.findHomography(points, moved, cv2.RANSAC, 1.0)
    if homography is None:
        return np.zeros_like(flow)
    fitted = cv2.perspectiveTransform(points[None], homography)[0]
    still, explained = (np.mean(np.hypot(*(moved - other).T) < _STILL) for other in (points, fitted))
    # An object slower than RANSAC's pixel is no outlier: it would pull the fit away from a still background.
    if still >= max(explained, 1 / 3):
        return np.zeros_like(flow)
    grid = _pixels(height, width)
    return np.asarray(cv2.perspectiveTransform(grid, homography) - grid, np.float32)


def moved(values: npt.NDArray[np.float32], flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fetch each pixel's value from where its `flow` `[h, w, 2]` points to in `values` `[h, w]`; from the rim where that is outside."""
    places = _pixels(*values.shape) + flow
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


@lru_cache(maxsize=4)
def _pixels(height: int, width: int) -> npt.NDArray[np.float32]:
    """Return the column and the row of each pixel, `[height, width, 2]`."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def normalised(flow: npt.NDArray[np.float32], known: Mask | None = None) -> Vectors:
    """Divide flow `[h, w, 2]` in pixels by the 95th percentile of its lengths + 0.5, and clip the result at 3.

    The percentile is that of the pixels whose flow is `known` `[h, w]`, at least one; None: of all.
    """
    lengths = np.hypot(flow[..., 0], flow[..., 1])
    scale = np.percentile(lengths if known is None else lengths[known], 95) + 0.5
    return np.asarray(np.rint(np.clip(flow / scale, -CLIP, CLIP) * (127 / CLIP)), np.int8)


def to_flow_input(vectors: npt.NDArray[np.number[Any]]) -> Tensor:
    """Convert normalised flow `[h, w, 2]` to float32 `[3, h, w]` in [0, 1], channels last: right, down (both 0.5 at rest), length.

    Examples:
        >>> to_flow_input(np.zeros((1, 1, 2))).flatten().tolist()
        [0.5, 0.5, 0.0]
    """
    if vectors.dtype == np.int8:  # a third of the time
        found = np.take(_inputs_of_bytes(), np.ascontiguousarray(vectors).view(np.uint16)[..., 0], axis=0)
    else:
        found = _flow_input(vectors)
    return torch.from_numpy(found).permute(2, 0, 1)


def _flow_input(vectors: npt.NDArray[np.number[Any]]) -> npt.NDArray[np.float32]:
    scaled = np.clip(vectors.astype(np.float32) / 127, -1, 1)
    length = np.minimum(np.sqrt(scaled[..., 0] ** 2 + scaled[..., 1] ** 2), 1)  # faster than hypot
    return np.dstack([scaled / 2 + 0.5, length])


@lru_cache(maxsize=1)
def _inputs_of_bytes() -> npt.NDArray[np.float32]:
    """Return the input for each pair of int8, `[65536, 3]`, in the order of the number that its two bytes are in memory."""
    pairs = np.arange(2**16, dtype=np.uint16).view(np.int8)
    return _flow_input(pairs.reshape(1, -1, 2))[0]


def mirrored_flow(flow: Tensor) -> Tensor:
    """Mirror the flow input `[B, 3, h, w]` of mirrored frames: what moved right moves left."""
    flow = flow.flip(-1)
    return torch.cat([1 - flow[:, :1], flow[:, 1:]], dim=1)


@dataclass(frozen=True)
class SequenceFlow:
    """Optical flow of a dataset's frames by `method`, each computed once and kept in the folder `cache`; None: computed each time.

    A cached file's name is a hash of the method's settings, of the files that it was made from, of `_VERSION` and of OpenCV's
    version, so that a changed frame or setting gives another file, and several processes and datasets can share the folder.
    """

    method: FlowMethod
    cache: str | Path | None = None

    def __call__(self, sequence: Video, index: int) -> Vectors:
        """Return the normalised flow of frame `index`, int8 `[h, w, 2]`. Raises UserError for unreadable files, and as the method does."""
        files, sign = self.method.files(sequence, index)
        if not files:
            return NO_MOTION
        if self.cache is None:
            return np.asarray(sign * self.method.of_files(files), np.int8)
        file = from_home(self.cache) / self._name(files)
        found = None
        with suppress(UserError):  # missing or damaged
            found = read_array(file)
        if found is None or found.dtype != np.int8 or found.shape[2:] != (2,):
            found = self.method.of_files(files)
            content = BytesIO()
            np.save(content, found)
            with replacing(file) as draft:
                draft.write_bytes(content.getvalue())  # np.save's own error on a full disk has no number
        return np.asarray(sign * found, np.int8)

    def _settings(self) -> str:
        return f"{_VERSION} OpenCV {cv2.__version__} {self.method!r}"  # OpenCV 5 gives other flow than 4.14

    def _name(self, files: tuple[Path, ...]) -> str:
        try:
            contents = [hashlib.blake2b(path.read_bytes()).digest() for path in files]
        except OSError as error:
            raise UserError(f"cannot read the image {error.filename}: {error.strerror}; replace the file") from error
        name = hashlib.blake2b(self._settings().encode() + b"".join(contents), digest_size=16).hexdigest()
        return f"{name[:2]}/{name}.npy"

    def check(self, sequences: Iterable[Video]) -> None:
        """Raise UserError if the method lacks a file for a frame of `sequences`, or has one for a frame that they lack."""
        for sequence in sequences:
            self.method.check(sequence.name, [frame.stem for frame in sequence.frames])

    def fill(self, sequences: Iterable[Video], workers: int, annotated: bool = False) -> None:
        """Compute what is not cached yet, only of `annotated` frames if true, in `workers` threads, with a progress bar.

        Where nothing has changed since the last time, no file is read. Raises UserError as `check` and a call do.
        """
        sequences = list(sequences)
        self.check(sequences)
        if self.cache is None:
            return
        wanted = [(s, index) for s in sequences for index in (s.annotated if annotated else range(len(s.frames)))]
        files = [file for place in wanted for file in self.method.files(*place)[0]]
        if files:  # images have no motion
            remembered(self._settings(), files, lambda: self._compute(wanted, workers), from_home(self.cache))

    def _compute(self, wanted: list[tuple[Video, int]], workers: int) -> dict[str, int]:
        def keep(place: tuple[Video, int]) -> None:
            self(*place)

        shown: Any = {"desc": "optical flow", "leave": False, "disable": None, "unit": "frame"}
        thread_map(keep, wanted, max_workers=max(1, workers), **shown)
        return {"frames": len(wanted)}
