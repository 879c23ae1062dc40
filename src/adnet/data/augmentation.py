"""Augmentation of a training frame; every call to albumentations is here."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

# The import asks the network for a newer release otherwise.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy.typing as npt

from adnet.data.sequence import Frame, Mask

ROTATIONS = {0: 0.51, **dict.fromkeys(range(45, 360, 45), 0.07)}
"""Probability of each rotation in degrees (Section 4, Training)."""


class Augmentation:
    """Crop around the foreground, rotation in 45-degree steps, and what `lite` adds to them.

    The pair's frames go through it one by one, since the paper crops each around its own foreground.

    Args:
        crop_size: height and width in pixels of what comes out.
        min_crop: smallest side of the random region relative to the frame's, in (0, 1]; a larger foreground enlarges it.
        rotate: whether to rotate, with the probabilities of `ROTATIONS`.
        flip: probability of a horizontal flip (0 in the paper).
        jitter: strength of brightness, contrast, saturation and hue changes, 0 to 1 (0 in the paper).
        reduced_decoding: decode a frame at 1/2, 1/4 or 1/8 of its size where the region has at least as many times the
            crop's pixels a side; for a JPEG that is faster, and averages where the resize would leave pixels out. What is
            drawn doesn't depend on it.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        min_crop: float = 0.3,
        rotate: bool = True,
        flip: float = 0.0,
        jitter: float = 0.0,
        reduced_decoding: bool = True,
    ) -> None:
        self.crop_size = crop_size
        self.min_crop = min_crop
        self.reduced_decoding = reduced_decoding
        transforms: list[A.BasicTransform | A.BaseCompose] = []
        if rotate:
            # `A.Rotate` draws angles uniformly; the weights of a OneOf are the paper's probabilities.
            transforms.append(
                A.OneOf([A.Affine(rotate=(a, a), p=p) if a else A.NoOp(p=p) for a, p in ROTATIONS.items()], p=1)
            )
        if flip:
            transforms.append(A.HorizontalFlip(p=flip))
        if jitter:
            transforms.append(
                A.ColorJitter(
                    (1 - jitter, 1 + jitter),
                    (1 - jitter, 1 + jitter),
                    (1 - jitter, 1 + jitter),
                    (-jitter / 4, jitter / 4),
                    p=0.8,
                )
            )
        self._pipeline = A.Compose(transforms)

    def __call__(self, read: Callable[[int], Frame], mask: Mask, rng: np.random.Generator) -> tuple[Frame, Mask]:
        """Augment the frame that `read` gives and its `mask` `[H, W]` alike; all randomness comes from `rng`.

        `read(reduction)` is called once and gives the frame `[H, W, 3]`, or, where it can, one whose sides are those divided
        by `reduction` and rounded up.
        """
        region = random_region(mask, self.crop_size[0] / self.crop_size[1], self.min_crop, rng)
        frame = read(self._reduction(region[2], region[3]))
        self._pipeline.set_random_seed(int(rng.integers(2**31)))
        reduced = round(mask.shape[0] / frame.shape[0])
        out = self._pipeline(
            image=self._crop(frame, region, reduced, cv2.INTER_LINEAR),
            mask=self._crop(mask.astype(np.uint8), region, 1, cv2.INTER_NEAREST),
        )
        return out["image"], out["mask"].astype(bool)

    def _reduction(self, height: int, width: int) -> int:
        ratio = min(height / self.crop_size[0], width / self.crop_size[1])
        return max(n for n in (1, 2, 4, 8) if n <= max(1, ratio)) if self.reduced_decoding else 1

    def _crop(
        self, image: npt.NDArray[np.uint8], region: tuple[int, int, int, int], reduced: int, interpolation: int
    ) -> npt.NDArray[np.uint8]:
        """`region` of the unreduced image, resized to the crop; in a reduced one it may begin inside a pixel."""
        top, left, height, width = region
        y, x = height / self.crop_size[0], width / self.crop_size[1]
        # From the middle of a pixel of the crop to the middle of one of the image.
        back = np.array([[x, 0, left + (x - reduced) / 2], [0, y, top + (y - reduced) / 2]]) / reduced
        flags = interpolation | cv2.WARP_INVERSE_MAP
        cropped = cv2.warpAffine(image, back, self.crop_size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(cropped, np.uint8)


def random_region(mask: Mask, aspect: float, min_crop: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A random region that encloses the foreground: (top, left, height, width) in pixels (Section 4, Training).

    Its size is uniform between the smallest that holds the foreground (at least `min_crop` of the frame) and the whole
    frame; height / width is `aspect` where the frame leaves room for it. An empty mask gives any region of the frame.
    """
    frame_height, frame_width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows):
        box = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    else:
        row, column = rng.integers(frame_height), rng.integers(frame_width)
        box = row, row + 1, column, column + 1
    full = max(frame_height, frame_width * aspect)
    least = max(box[1] - box[0], (box[3] - box[2]) * aspect, min_crop * full)
    height = rng.uniform(least, max(full, least))
    height, width = (min(frame_height, round(height)), min(frame_width, round(height / aspect)))
    return (
        _position(int(box[0]), int(box[1]), height, frame_height, rng),
        _position(int(box[2]), int(box[3]), width, frame_width, rng),
        height,
        width,
    )


def _position(low: int, high: int, length: int, limit: int, rng: np.random.Generator) -> int:
    return int(rng.integers(max(0, high - length), min(low, limit - length) + 1))
