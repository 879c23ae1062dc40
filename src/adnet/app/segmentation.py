"""Segment a video within the page's limits, and keep its probabilities, to draw masks at any threshold and attention."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_STORED, ZipFile

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from adnet.backends.runtime import SegmentationModel
from adnet.data.masks import Mask, write_mask
from adnet.data.pictures import Frame, open_picture
from adnet.errors import UserError
from adnet.inference.embeddings import pixel_embeddings
from adnet.inference.predict_videos import Outputs, Predicted, predict
from adnet.inference.protocol import Protocol, fitted_size
from adnet.inference.segmenter import VideoSegmenter
from adnet.models import upsample
from adnet.models.attention import similarity
from adnet.models.branches import VARIANTS
from adnet.video.file import VideoFrame
from adnet.video.overlay import OverlayVideo
from adnet.video.sources import VideoSource


@dataclass(frozen=True)
class Bounded(VideoSource):
    """The first `max_frames` frames of `source`.

    `frames()` raises UserError above `max_pixels`, once the video is `unwanted`, and AFTER the last frame if more follow.
    """

    source: VideoSource
    max_frames: int
    max_pixels: float
    unwanted: Callable[[], bool]
    live = False

    @property
    def name(self) -> str:
        return self.source.name

    def length(self) -> int | None:
        length = self.source.length()
        return None if length is None else min(length, self.max_frames)

    def names(self) -> Iterator[str]:
        return islice(self.source.names(), self.max_frames)

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
            raise UserError(f"{self.name} is longer than the {self.max_frames} frames allowed here (max_frames)")


class Network(NamedTuple):
    """A network, its protocol, its test size (height, width) in pixels, and its file (None for an export)."""

    model: SegmentationModel
    protocol: Protocol
    size: tuple[int, int]
    checkpoint: Path | None = None

    @property
    def diffuses(self) -> bool:
        """Whether the network has the branch `anchor_diffusion`, whose attention can be shown."""
        return "anchor_diffusion" in VARIANTS[self.model.variant]


class Segmentation:
    """The results of one video, `probabilities/<frame>.png` in `folder`; `source` is read again for each drawing."""

    def __init__(self, network: Network, source: VideoSource, folder: Path) -> None:
        self.network, self.source, self.folder = network, source, folder
        self._embedded: dict[int, tuple[Frame, Tensor]] = {}

    def segment(self) -> Predicted:
        model, protocol, size, _ = self.network
        return predict(
            self.source,
            Outputs(self.folder, probabilities=True),
            lambda frame_size: VideoSegmenter(model, protocol, fitted_size(size, frame_size)),
        )

    def draw(self, threshold: float, folder: Path) -> None:
        """Write `overlay.mp4` and `masks.zip` (`<frame>.png`, 0 or 255) into `folder`."""
        with OverlayVideo(folder / "overlay.mp4") as overlay:
            # `zip` must stop when the maps end: a damaged video raises an error after its last frame.
            indices = tqdm(range(len(self.names())), desc="drawing", unit="frame", leave=False)
            for index, frame in zip(indices, self.source.frames(), strict=False):
                mask = self.mask(index, threshold)
                overlay.add(frame.image, mask, frame.time, frame.duration, frame.pixel_aspect)
                write_mask(folder / "masks" / f"{frame.name}.png", mask)
        write_zip(folder / "masks", folder / "masks.zip")

    def names(self) -> list[str]:
        return [path.stem for path in self._maps()]

    def mask(self, index: int, threshold: float) -> Mask:
        """Read the mask of a frame, bool `[H, W]`."""
        return self._levels(index) > 255 * threshold

    def frame(self, index: int) -> VideoFrame:
        for frame in islice(self.source.frames(), index, index + 1):
            return frame
        raise UserError(f"{self.source.name} has no frame {index}")

    def most_probable_pixel(self) -> tuple[int, int]:
        """Find the anchor's pixel with the highest probability; return its column and row."""
        levels = self._levels(0)
        row, column = np.unravel_index(levels.argmax(), levels.shape)
        return int(column), int(row)

    def attention(self, index: int, x: int, y: int, threshold: float) -> tuple[Frame, float]:
        """Draw what the pixel in column `x` and row `y` of the anchor attends to in frame `index`, over the frame in grey.

        This is the pixel's row of softmax(X_0 X_t^T / sqrt(C)), at scale 1. Also returns the attention's share on the mask, in [0, 1].
        """
        anchor, first = self._embedding(0)
        image, embedding = self._embedding(index)
        # With aligned corners, the first and the last embedding lie on the first and the last pixel.
        point = [
            round(position / max(pixels - 1, 1) * (cells - 1))
            for position, pixels, cells in zip((y, x), anchor.shape, first.shape[2:], strict=False)
        ]
        shares = similarity(first, embedding, torch.tensor([point], device=first.device)).cpu()
        probability = torch.tensor(self._levels(index))[None, None] / 255
        foreground = upsample(probability, (embedding.shape[2], embedding.shape[3])) > threshold
        heat = upsample(shares / shares.max(), image.shape[:2])[0, 0].numpy()
        return _draw_heat(image, heat), float(shares[foreground].sum())

    def _embedding(self, index: int) -> tuple[Frame, Tensor]:
        """Return a frame and its embedding. Those of the anchor and of the most recent frame are cached."""
        if index not in self._embedded:
            frame = self.frame(index)
            size = fitted_size(self.network.size, frame.shown_size)
            kept = {0: self._embedded[0]} if 0 in self._embedded else {}
            self._embedded = {**kept, index: (frame.image, pixel_embeddings(self.network.model, frame.image, size))}
        return self._embedded[index]

    def _levels(self, index: int) -> npt.NDArray[np.uint8]:
        return np.asarray(open_picture(self._maps()[index]).image)

    def _maps(self) -> list[Path]:
        return sorted((self.folder / "probabilities").iterdir())


def write_zip(folder: Path, archive: Path) -> None:
    """Write all files below `folder` into a ZIP file, by their names within it, sorted."""
    with ZipFile(archive, "w", ZIP_STORED) as opened:  # PNG is compressed already
        for path in sorted(folder.rglob("*.*")):
            opened.write(path, path.relative_to(folder))


def _draw_heat(image: Frame, heat: npt.NDArray[np.float32]) -> Frame:
    # As in the report's similarity explorer.
    colours = cv2.applyColorMap(np.rint(255 * heat).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
    grey = image.mean(axis=-1, keepdims=True)
    return np.asarray(np.rint(0.3 * grey + 0.7 * colours), np.uint8)
