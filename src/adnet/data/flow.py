"""Optical flow of a frame, as the motion branch takes it. Beyond the paper.

Flow is that to the frame before; the first frame has that to the one after, its sign turned. What the camera's own motion
explains is taken off, and the rest is divided by its 95th percentile, so that an object moves about as fast in every video.
"""

from __future__ import annotations

import hashlib
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveInt
from torch import Tensor
from tqdm import tqdm

from adnet.data.sequence import Frame, Sequence, read_frame
from adnet.errors import UserError
from adnet.shared.arrays import read_array
from adnet.shared.files import replacing

Vectors = npt.NDArray[np.int8]
"""Normalised flow `[h, w, 2]`, to the right and down: 127 is three times the frame's 95th percentile."""

NO_MOTION: Vectors = np.zeros((2, 2, 2), np.int8)
"""Of a frame that has no neighbour; flow may be of any size."""

CLIP = 3.0
_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_GRID = 8
"""Pixels between two points of the grid that the camera's motion is fitted to."""


class FrameFlow(ABC):
    """Flow that is computed of a frame and its neighbour; `vectors` says how."""

    camera: bool

    @abstractmethod
    def vectors(self, frame: Frame, neighbour: Frame) -> npt.NDArray[np.float32]:
        """Compute the flow from `frame` to `neighbour`, RGB uint8 `[H, W, 3]`: float32 `[h, w, 2]` in pixels of its size."""

    def __call__(self, frame: Frame, neighbour: Frame) -> Vectors:
        """Compute the normalised flow from `frame` to `neighbour`, both RGB uint8 `[H, W, 3]`: int8 `[h, w, 2]`.

        Raises UserError if the two differ in size.
        """
        if frame.shape != neighbour.shape:
            raise UserError(
                f"a frame of {frame.shape[1]}x{frame.shape[0]} follows one of {neighbour.shape[1]}x{neighbour.shape[0]}: optical "
                "flow needs frames of one size"
            )
        flow = self.vectors(frame, neighbour)
        return normalised(flow - camera_motion(flow) if self.camera else flow)

    def files(self, sequence: Sequence, index: int) -> tuple[tuple[Path, ...], int]:
        """Find the frame and its neighbour: the one before; for the first the one after, with the sign -1."""
        if len(sequence.frames) < 2:
            return (), 1
        return (sequence.frames[index], sequence.frames[index - 1 if index else 1]), 1 if index else -1

    def of_files(self, files: tuple[Path, ...]) -> Vectors:
        """Compute the normalised flow of a frame and its neighbour. Raises UserError if one can't be read, or they differ in size."""
        frame, neighbour = map(read_frame, files)
        return self(frame, neighbour)


@dataclass(frozen=True)
class OpticalFlow(FrameFlow):
    """Optical flow by Dense Inverse Search (Kroeger et al., arXiv:1603.03590), which needs no weights.

    Args:
        height: in pixels, of the frames that it is computed on; their aspect is kept, larger frames are reduced.
        preset: of OpenCV: `ultrafast`, `fast` or `medium`.
        camera: take off the camera's motion, a homography fitted to the flow by RANSAC.
    """

    height: PositiveInt = 240
    preset: str = "medium"
    camera: bool = True

    def __post_init__(self) -> None:
        if self.preset not in _PRESETS:
            raise UserError(f"flow.preset={self.preset}: choose from {', '.join(_PRESETS)}")

    def vectors(self, frame: Frame, neighbour: Frame) -> npt.NDArray[np.float32]:
        """Compute the flow on reduced grey frames."""
        dis = cv2.DISOpticalFlow.create(_PRESETS[self.preset])
        before, after = (reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.height) for image in (frame, neighbour))
        return np.asarray(dis.calc(before, after, None), np.float32)


@dataclass(frozen=True)
class NoFlow(FrameFlow):
    """No motion in any frame: what a network with a motion branch finds by appearance alone."""

    camera: bool = False

    def vectors(self, frame: Frame, neighbour: Frame) -> npt.NDArray[np.float32]:  # noqa: ARG002
        """Return zeros `[2, 2, 2]`; flow may be of any size."""
        return np.zeros((2, 2, 2), np.float32)

    def files(self, sequence: Sequence, index: int) -> tuple[tuple[Path, ...], int]:  # noqa: ARG002
        """Find none: no frame needs to be read."""
        return (), 1


def reduced(image: npt.NDArray[Any], height: int) -> npt.NDArray[Any]:
    """Reduce an image or a field `[H, W]` or `[H, W, K]` to `height` rows by means over areas; a smaller one stays as it is."""
    height = min(height, image.shape[0])
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), image.dtype)


def camera_motion(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fit a homography to `flow` `[h, w, 2]` by RANSAC: the flow, of the same shape, that it alone would give.

    It is 0 where there are too few points or none agree.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[_GRID // 2 : height : _GRID, _GRID // 2 : width : _GRID]
    points = np.stack([columns, rows], axis=-1).reshape(-1, 2).astype(np.float32)
    if len(points) < 4:
        return np.zeros_like(flow)
    cv2.setRNGSeed(0)
    homography, _ = cv2.findHomography(points, points + flow[rows, columns].reshape(-1, 2), cv2.RANSAC, 1.0)
    if homography is None:
        return np.zeros_like(flow)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    moved = cv2.perspectiveTransform(grid.reshape(-1, 1, 2), homography).reshape(grid.shape)
    return np.asarray(moved - grid, np.float32)


def normalised(flow: npt.NDArray[np.float32]) -> Vectors:
    """Divide flow `[h, w, 2]` in pixels by the 95th percentile of its lengths + 0.5, and clip it at 3."""
    scale = np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 95) + 0.5
    return np.asarray(np.rint(np.clip(flow / scale, -CLIP, CLIP) * (127 / CLIP)), np.int8)


def to_flow_input(vectors: npt.NDArray[np.number[Any]]) -> Tensor:
    """Normalised flow `[h, w, 2]`, 127 at most -> float32 `[3, h, w]` in [0, 1]: right, down (0.5 is none) and length."""
    scaled = np.clip(vectors.astype(np.float32) / 127, -1, 1)
    length = np.minimum(np.hypot(scaled[..., 0], scaled[..., 1]), 1)
    return torch.from_numpy(np.stack([scaled[..., 0] / 2 + 0.5, scaled[..., 1] / 2 + 0.5, length]))


def no_motion(frames: Tensor) -> Tensor:
    """What `to_flow_input` gives of no motion at all, for `frames` `[B, 3, H, W]`: `[B, 3, H, W]`."""
    return frames.new_tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1).expand(frames.shape)


def mirrored_flow(flow: Tensor) -> Tensor:
    """Mirror the flow input `[B, 3, h, w]` of frames as the frames are: what went right goes left."""
    flow = flow.flip(-1)
    return torch.cat([1 - flow[:, :1], flow[:, 1:]], dim=1)


class FlowMethod(typing.Protocol):
    """Where the flow of a data set's frames comes from; its `repr` tells settings apart."""

    def files(self, sequence: Sequence, index: int) -> tuple[tuple[Path, ...], int]:
        """Find the files that the flow of frame `index` is made of, none where it has no neighbour, and the flow's sign."""
        ...

    def of_files(self, files: tuple[Path, ...]) -> Vectors:
        """Give the normalised flow that is made of `files`, int8 `[h, w, 2]`."""
        ...


@dataclass(frozen=True)
class SequenceFlow:
    """Optical flow of a data set's frames, each computed once and kept in `cache`.

    A file there is named by what it was made of, the method's settings and the content of the files: a changed frame or
    setting is another file, and several processes and data sets may share the folder.

    Args:
        method: computes or reads it.
        cache: a folder; None: compute it each time.
    """

    method: FlowMethod
    cache: str | Path | None = None

    def __call__(self, sequence: Sequence, index: int) -> Vectors:
        """Return the normalised flow of frame `index`, int8 `[h, w, 2]`; a sequence of one frame has no motion.

        Raises UserError if a file can't be read, and as the method does.
        """
        files, sign = self.method.files(sequence, index)
        if not files:
            return NO_MOTION
        if self.cache is None:
            return np.asarray(sign * self.method.of_files(files), np.int8)
        file = Path(self.cache) / self._name(files)
        if (found := _read(file)) is None:
            found = self.method.of_files(files)
            _write(file, found)
        return np.asarray(sign * found, np.int8)

    def _name(self, files: tuple[Path, ...]) -> str:
        try:
            contents = [hashlib.blake2b(path.read_bytes()).digest() for path in files]
        except OSError as error:
            raise UserError(f"cannot read the image {error.filename}: {error.strerror}; replace the file") from error
        name = hashlib.blake2b(repr(self.method).encode() + b"".join(contents), digest_size=16).hexdigest()
        return f"{name[:2]}/{name}.npy"

    def fill(self, sequences: Iterable[Sequence], workers: int) -> None:
        """Compute what the cache lacks, in `workers` threads (OpenCV lets them run side by side), with a progress bar.

        Files that the method lacks are missed before that, also without a cache. Raises UserError as a call does.
        """
        wanted = [(sequence, index) for sequence in sequences for index in range(len(sequence.frames))]
        for sequence, index in wanted:
            self.method.files(sequence, index)
        if self.cache is None:
            return
        with ThreadPoolExecutor(max(1, workers)) as pool:
            jobs = [pool.submit(self, *place) for place in wanted]
            try:
                for job in tqdm(as_completed(jobs), "optical flow", len(jobs), leave=False, disable=None, unit="frame"):
                    job.result()
            finally:
                pool.shutdown(cancel_futures=True)


def _read(file: Path) -> Vectors | None:
    """The flow in `file`; None if there is none, or a damaged one."""
    try:
        found = read_array(file)
    except UserError:
        return None
    return found if found.dtype == np.int8 and found.ndim == 3 and found.shape[2] == 2 else None


def _write(file: Path, vectors: Vectors) -> None:
    with replacing(file) as draft, draft.open("wb") as stream:
        np.save(stream, vectors)
