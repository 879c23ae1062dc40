"""Augmentation of a training frame; every call to albumentations is here."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from adnet.shared.value_types import FrameSize, Proportion

# Otherwise the import asks the network whether there is a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2
import numpy.typing as npt

from adnet.data.flow import Vectors
from adnet.data.masks import Mask
from adnet.data.pictures import Frame

Matrix = npt.NDArray[np.float64]

ROTATIONS = {0: 0.51, **dict.fromkeys(range(45, 360, 45), 0.07)}
"""Probability of each rotation in degrees (Section 4, Training)."""

OUTSIDE = (124, 116, 104)
"""Colour of pixels outside the frame, as in DeepLab: ImageNet's mean, RGB. Their mask is background."""

_LINEAR, _NEAREST = (way | cv2.WARP_INVERSE_MAP for way in (cv2.INTER_LINEAR, cv2.INTER_NEAREST))
"""Ways to sample a frame at the points that a matrix maps a crop's pixels to."""


@dataclass(frozen=True)
class Region:
    """A rectangle of `height` x `width` pixels to cut out of a frame, turned by `angle` about the frame's centre.

    `x` and `y` locate its centre, in pixels from the frame's centre along the rectangle's sides; `angle` is in degrees,
    anticlockwise as seen in the crop. `mirrored` flips the crop left to right.
    """

    x: float
    y: float
    height: float
    width: float
    angle: int = 0
    mirrored: bool = False

    @property
    def axes(self) -> Matrix:
        """The crop's axes in the frame, `[2, 2]`: unit vectors to the right and down, as columns."""
        cos, sin = _cos_sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]]) * [-1 if self.mirrored else 1, 1]

    def to_frame(self, frame_size: tuple[int, int], crop_size: tuple[int, int]) -> Matrix:
        """Return the `[2, 3]` matrix that maps a crop's `(column, row, 1)` to the frame's `(column, row)`.

        Both sizes are (height, width) in pixels; integer coordinates are the centres of pixels.
        """
        scale = np.array([self.width / crop_size[1], self.height / crop_size[0]])
        corner = np.array([-self.x if self.mirrored else self.x, self.y]) - np.array(crop_size[::-1]) * scale / 2
        centre = np.array([frame_size[1] - 1, frame_size[0] - 1]) / 2
        return np.column_stack([self.axes * scale, self.axes @ (corner + scale / 2) + centre])


class Augmented(NamedTuple):
    """A crop: frame uint8 `[h, w, 3]`, mask bool `[h, w]`, and perhaps its normalised optical flow `[h, w, 2]`."""

    frame: Frame
    mask: Mask
    flow: npt.NDArray[np.float32] | None = None


@dataclass(eq=False)
class Augmentation:
    """Cut a random region around the foreground, turned in 45-degree steps; optionally flip it and jitter its colours.

    Rotation and crop are one warp, so that each pixel is sampled once. Pixels outside the frame have the colour `OUTSIDE` and are
    background. The two frames of a pair are augmented separately, as in the paper.

    Args:
        crop_size: height and width of the crop in pixels.
        min_crop: smallest side of the region relative to that of the largest upright one, in (0, 1]; foreground enlarges it.
        rotate: whether to rotate, with the probabilities of `ROTATIONS`.
        flip: probability of a horizontal flip (0 in the paper).
        jitter: strength of brightness, contrast, saturation and hue changes, 0 to 1 (0 in the paper).
        reduced_decoding: decode a JPEG at 1/2, 1/4 or 1/8 of its size if the region is at least that many times as large as
            the crop: faster, and it averages pixels that resizing would skip.
    """

    crop_size: FrameSize
    min_crop: Annotated[float, Field(gt=0, le=1)] = 0.3
    rotate: bool = True
    flip: Proportion = 0.0
    jitter: Proportion = 0.0
    reduced_decoding: bool = True

    def __post_init__(self) -> None:
        factor = (1 - self.jitter, 1 + self.jitter)
        colours = A.ColorJitter(factor, factor, factor, (-self.jitter / 4, self.jitter / 4), p=0.8)
        self._pipeline = A.Compose([colours] if self.jitter else [])

    def __call__(
        self, read: Callable[[int], Frame], mask: Mask, rng: np.random.Generator, flow: Vectors | None = None
    ) -> Augmented:
        """Augment a frame, its `mask` `[H, W]` and its `flow`, int8 `[h, w, 2]` of any size, in the same way.

        `read(reduction)` returns the frame `[H, W, 3]`, its sides divided by `reduction` and rounded up if the format allows.
        """
        angle = int(rng.choice(list(ROTATIONS), p=list(ROTATIONS.values()))) if self.rotate else 0
        region = random_region(mask, self.crop_size[0] / self.crop_size[1], self.min_crop, rng, angle)
        region = replace(region, mirrored=bool(rng.random() < self.flip))
        ratio = min(region.height / self.crop_size[0], region.width / self.crop_size[1]) if self.reduced_decoding else 1
        frame = read(max(n for n in (1, 2, 4, 8) if n <= max(1, ratio)))
        self._pipeline.set_random_seed(int(rng.integers(2**31)))
        back = region.to_frame(mask.shape, self.crop_size)
        reduced = 1 / round(mask.shape[0] / frame.shape[0])
        warp = partial(cv2.warpAffine, dsize=self.crop_size[::-1])
        image = warp(frame, _rescaled(back, np.array([reduced, reduced])), flags=_LINEAR, borderValue=OUTSIDE)
        image = self._pipeline(image=image)["image"]
        cropped = warp(mask.astype(np.uint8), back, flags=_NEAREST).astype(bool)
        if flow is None:
            return Augmented(image, cropped)
        smaller = np.array([flow.shape[1] / mask.shape[1], flow.shape[0] / mask.shape[0]])
        cut = warp(flow.astype(np.float32), _rescaled(back, smaller), flags=_LINEAR)
        return Augmented(image, cropped, np.asarray(cut @ region.axes, np.float32))  # vectors turn with the region


def pasted(below: Augmented, above: Augmented) -> Augmented:
    """Paste the foreground of one crop on another of the same size, with its flow and a soft seam; both are foreground then."""
    opacity = cv2.GaussianBlur(above.mask.astype(np.float32), (5, 5), 0)[..., None]
    image = opacity * above.frame + (1 - opacity) * below.frame
    flow = None
    if below.flow is not None and above.flow is not None:
        flow = np.where(above.mask[..., None], above.flow, below.flow)
    return Augmented(image.round().astype(np.uint8), below.mask | above.mask, flow)


def _rescaled(back: Matrix, scale: Matrix) -> Matrix:
    """Adapt the matrix `back` to a frame resized by `scale` (x, y), whose pixel centres shift by half a pixel."""
    scaled = back * scale[:, None]
    scaled[:, 2] += (scale - 1) / 2
    return scaled


@dataclass(frozen=True)
class FlowAugmentation:
    """Degrade optical flow at random, so that the network doesn't rely on it where cameras or objects move otherwise.

    Args:
        drop: probability of no flow at all, as for a single image.
        reverse: probability of the opposite sign: whether a video runs forwards or backwards says nothing about the object.
        scale: the flow is multiplied by exp(uniform(*scale)).
        noise: probability of smooth noise, with a standard deviation of up to half the frame's 95th percentile.
    """

    drop: Proportion = 0.3
    reverse: Proportion = 0.5
    scale: tuple[float, float] = (-1.2, 0.5)
    noise: Proportion = 0.5

    def __call__(self, flow: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Return the degraded flow; `flow` `[h, w, 2]` is normalised, 127 being three times the 95th percentile."""
        drop, reverse, noise = rng.random(3) < [self.drop, self.reverse, self.noise]
        factor = math.exp(rng.uniform(*self.scale))
        strength = rng.uniform(0, 127 / 6)
        coarse = rng.normal(0, strength, (4, 7, 2)).astype(np.float32)
        if drop:
            return np.zeros_like(flow)
        if noise:
            flow = flow + cv2.resize(coarse, flow.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        return np.asarray(flow * (-factor if reverse else factor), np.float32)


def random_region(mask: Mask, aspect: float, min_crop: float, rng: np.random.Generator, angle: int = 0) -> Region:
    """Draw a region, turned by `angle`, that encloses the foreground of `mask` `[H, W]` (Section 4, Training).

    Its height / width is `aspect`, its size uniform between the smallest that encloses the foreground (at least `min_crop` of the
    largest upright one) and the largest that fits into the frame when turned. It reaches outside the frame only where it must.
    An empty mask counts as a foreground of one random pixel.
    """
    frame_height, frame_width = mask.shape
    cos, sin = _cos_sin(angle)
    left, right, top, bottom = _foreground_box(mask, angle, rng)
    # Extent along the frame's sides of a region of height 1.
    across, down = abs(cos) / aspect + abs(sin), abs(sin) / aspect + abs(cos)
    largest = min(frame_width / across, frame_height / down)
    smallest = max(bottom - top, (right - left) * aspect, min_crop * min(frame_height, frame_width * aspect))
    height = rng.uniform(smallest, max(largest, smallest))
    width = height / aspect
    # How far the centre may be from the frame's, first along the frame's sides, then along the region's.
    free_x, free_y = max(0.0, frame_width - height * across) / 2, max(0.0, frame_height - height * down) / 2
    x = _position(left, right, width, free_x * abs(cos) + free_y * abs(sin), rng)
    y = _position(top, bottom, height, free_x * abs(sin) + free_y * abs(cos), rng)
    # At 45 degrees the frame is a diamond: alternate projections move the centre into it as far as the foreground allows.
    for _ in range(20 if angle % 90 else 0):
        inside_x, inside_y = np.clip(cos * x - sin * y, -free_x, free_x), np.clip(sin * x + cos * y, -free_y, free_y)
        x = np.clip(cos * inside_x + sin * inside_y, right - width / 2, left + width / 2)
        y = np.clip(cos * inside_y - sin * inside_x, bottom - height / 2, top + height / 2)
    return Region(float(x), float(y), height, width, angle)


def _foreground_box(mask: Mask, angle: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return left, right, top and bottom of the turned foreground, in pixels from the frame's centre."""
    frame_height, frame_width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):
        # Each row's outermost pixels suffice to find the extent of the turned foreground.
        columns = np.stack([mask[rows].argmax(axis=1), frame_width - 1 - mask[rows, ::-1].argmax(axis=1)])
    else:
        rows, columns = rng.integers(frame_height, size=1), rng.integers(frame_width, size=(1, 1))
    cos, sin = _cos_sin(angle)
    x, y = columns - (frame_width - 1) / 2, rows - (frame_height - 1) / 2
    turned_x, turned_y = cos * x + sin * y, cos * y - sin * x
    pixel = (abs(cos) + abs(sin)) / 2  # from a pixel's centre to its farthest corner
    return turned_x.min() - pixel, turned_x.max() + pixel, turned_y.min() - pixel, turned_y.max() + pixel


def _position(low: float, high: float, length: float, free: float, rng: np.random.Generator) -> float:
    """Draw the centre of an interval that contains [low, high]: within `free` of 0, or as near to that as possible."""
    least, most = high - length / 2, max(high - length / 2, low + length / 2)
    return float(rng.uniform(np.clip(-free, least, most), np.clip(free, least, most)))


def _cos_sin(angle: int) -> tuple[float, float]:
    # Exact at right angles, where a sine of 1e-16 would let a region reach outside the frame.
    return round(math.cos(math.radians(angle)), 12), round(math.sin(math.radians(angle)), 12)
