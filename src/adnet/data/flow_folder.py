"""Optical flow computed elsewhere, one file per frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import PositiveInt

from adnet.data.flow import FlowMethod, Vectors, camera_motion, normalised, reduced
from adnet.data.masks import Mask
from adnet.data.pictures import check_same_size, image_size
from adnet.data.videos import Video
from adnet.errors import UserError

SUFFIXES = (".png", ".flo")  # of files of flow; where a frame has both, the first is read

UNKNOWN = 1e9  # components from here on mark unknown flow in a `.flo` (Baker et al., Middlebury, IJCV 2011)


@dataclass(frozen=True)
class FlowFolder(FlowMethod):
    """Flow in `root/<sequence>/<frame>.flo`, or `.png` in the 16-bit encoding of KITTI (Menze and Geiger, CVPR 2015).

    A sequence's first frame (with `to=previous`; with `to=next` its last) may lack a file, and then has no motion.

    Args:
        root: holds a folder for each sequence.
        to: whether a file holds the flow to the `previous` frame, as the network expects, or to the `next`, which is reversed.
        height: in pixels; larger flow is reduced to it.
        camera: subtract the camera's motion, as `OpticalFlow` does.
    """

    root: str | Path
    to: Literal["previous", "next"] = "previous"
    height: PositiveInt = 240
    camera: bool = True

    def check(self, video: str, frames: list[str], whole: bool = True) -> None:
        """Raise UserError for a missing folder or file, and, if the `frames` are the `whole` video, for flow of others."""
        if len(frames) < 2:
            return
        found = self.found(video)
        if whole and (foreign := sorted(found.keys() - set(frames))):
            has = f"{Path(self.root) / video} has flow of {len(found)} frames, including {foreign[0]}"
            what = f"which is not among the {len(frames)} frames of {video}"
            raise UserError(f"{has}, {what}: remove it, or set flow.method.root")
        for frame in frames[1:] if self.to == "previous" else frames[:-1]:
            if frame not in found:
                raise self._missing(video, frame)

    def files(self, sequence: Video, index: int) -> tuple[tuple[Path, ...], int]:
        """Return frame `index` and its flow's file, none if it has no neighbour, and the sign 1. Raises UserError without a file."""
        frame, last = sequence.frames[index], len(sequence.frames) - 1
        if last and (file := self._file(sequence.name, frame.stem)):
            return (frame, file), 1
        if index == (0 if self.to == "previous" else last):
            return (), 1
        raise self._missing(sequence.name, frame.stem)

    def of_files(self, files: tuple[Path, ...]) -> Vectors:
        frame, file = files
        return self._vectors(file, image_size(frame))

    def of_frame(self, video: str, frame: str, size: tuple[int, int]) -> Vectors | None:
        """Read the normalised flow of a frame by its name, int8 `[h, w, 2]`; None if there is no file.

        Raises UserError for an unreadable file, and flow of another `size` (height, width) than the frame's in pixels.
        """
        file = self._file(video, frame)
        return None if file is None else self._vectors(file, size)

    def found(self, video: str) -> dict[str, Path]:
        """Find a video's flow files, by frame name. Raises UserError if there is no folder."""
        folder = Path(self.root) / video
        if not folder.is_dir():
            raise UserError(f"no folder {folder} with the optical flow of {video}: set flow.method.root")
        # In this order `.png` replaces `.flo`.
        return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES}

    def _file(self, video: str, frame: str) -> Path | None:
        files = (Path(self.root) / video / f"{frame}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.is_file()), None)

    def _missing(self, video: str, frame: str) -> UserError:
        folder = Path(self.root) / video
        return UserError(f"no optical flow of frame {frame} in {folder}: add {frame}.flo or {frame}.png")

    def _vectors(self, file: Path, size: tuple[int, int]) -> Vectors:
        flow, valid = read_flow(file)
        check_same_size(file, valid.shape, "its frame", size)
        small, share = reduced(flow, self.height), reduced(valid.astype(np.float32), self.height)
        known = share > 0
        if not known.any():
            return np.zeros(small.shape, np.int8)
        small *= np.float32(len(small) / size[0])
        if not valid.all():
            small[known] /= share[known][:, None]  # the mean of what is known
        if self.camera:
            small = small - camera_motion(small, known)
        return normalised(np.where(known[..., None], small if self.to == "previous" else -small, 0), known)


def read_flow(file: Path) -> tuple[npt.NDArray[np.float32], Mask]:
    """Read flow in pixels `[H, W, 2]`, to the right and down, and where it is known `[H, W]`; elsewhere it is 0.

    Raises UserError for what is no `.flo` nor 16-bit PNG: right and down as (value - 2^15) / 64, and whether the flow is known.
    """
    if file.suffix.lower() == ".flo":
        flow = cv2.readOpticalFlow(str(file))
        if flow is None:
            raise UserError(f"cannot read {file}: it is not a complete .flo file; replace it")
        length = np.abs(flow).max(axis=-1)
        valid = np.isfinite(length) & (length < UNKNOWN)
    else:
        encoded = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if encoded is None or encoded.dtype != np.uint16 or encoded.shape[2:] != (3,):
            raise UserError(f"cannot read {file}: it is not a 16-bit PNG of three channels, as KITTI's; replace it")
        # OpenCV gives blue, green, red.
        flow, valid = (encoded[..., :0:-1].astype(np.float32) - 2**15) / 64, encoded[..., 0] > 0
    return np.where(valid[..., None], flow, np.float32(0)), valid
