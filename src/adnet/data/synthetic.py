"""Synthetic videos in DAVIS layout, for training in minutes without a download.

The foreground can be told by the paper's cues (Section 1): in the anchor it is near the centre and the largest object, later it has
moved against the background. Other objects lack one of them: distractors of similar shape and texture are smaller,
off-centre and fixed to the background; occluders pass in front and start elsewhere.

Points of the plane are complex numbers, x + iy in pixels: multiplication turns and scales, and a closed outline is a
Fourier series of the direction. Arithmetic is float64 until the final rounding, so that all processors write the same files.
"""

import colorsys
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from pydantic import Field, NonNegativeInt

from adnet.data.masks import Mask, write_mask
from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.shared.files import new_folder, read_json, replacing, write_json, write_text
from adnet.shared.locks import one_at_a_time

Real = npt.NDArray[np.float64]
Points = npt.NDArray[np.complex128]

FAMILIES = ("noise", "stripes", "checks", "spots")
HARMONICS = np.arange(2, 7)  # of an outline; the first would only move it

VERSION = 1  # of the pictures: raise it when they change, so that older caches are refused


def synthesize(
    root: Path,
    *,
    train: NonNegativeInt = 24,
    val: NonNegativeInt = 6,
    frames: Annotated[int, Field(ge=2)] = 16,
    size: tuple[int, int] = (240, 432),
    seed: NonNegativeInt = 0,
) -> Path:
    """Write `train` + `val` videos of `frames` frames, `size` = (height, width) pixels, into `root`, once; return `root`.

    Frames are JPEG (quality 90), annotations 0/255 PNG of the object's visible part: where its antialiased coverage,
    less that of what lies in front, is more than 0.5. A video depends only on `seed`, `frames`, `size`, its split and
    its number, so that more videos leave the earlier ones unchanged.

    The folder appears when all of it is written, with the parameters in `synthetic.json`; a second process waits for the first.
    Raises UserError if an argument is out of range, or if `root` holds videos of other parameters or anything else.
    """
    parameters = {"version": VERSION, "train": train, "val": val, "frames": frames, "size": [*size], "seed": seed}
    if min(train, val, seed) < 0 or frames < 2 or min(size) < 32:
        raise UserError(f"no synthetic videos of {parameters}: give frames >= 2, sides >= 32 and nothing negative")
    # Look first: another process may be about to finish.
    occupied = root.is_file() or (root.is_dir() and any(root.iterdir()))
    if _is_there(root, parameters):
        return root
    if occupied:
        raise UserError(f"{root} holds something other than synthetic videos; choose another folder")
    with one_at_a_time(root.with_name(f".{root.name}.lock")):
        if _is_there(root, parameters):
            return root
        logging.getLogger(__name__).info("making %d synthetic videos in %s", train + val, root)
        with new_folder(root) as draft:
            for split, (name, count) in enumerate([("train", train), ("val", val)]):
                lines: list[str] = []
                for number in range(count):
                    video = synthetic_video(np.random.default_rng([seed, split, number]), frames, size)
                    lines += _write_sequence(draft, f"{name}-{number:03d}", video)
                write_text(draft / "ImageSets" / "480p" / f"{name}.txt", "".join(lines))
            write_json(draft / "synthetic.json", parameters)
    return root


def _is_there(root: Path, parameters: dict[str, object]) -> bool:
    """Return whether the videos are there. Raises UserError if they have other parameters."""
    marker = root / "synthetic.json"
    found = read_json(marker) if marker.is_file() else None
    if found not in (None, parameters):
        others = f"other parameters, {found} instead of {parameters}"
        raise UserError(f"{root} holds synthetic videos of {others}; choose another folder or delete this one")
    return found is not None


def _write_sequence(root: Path, name: str, sequence: Iterator[tuple[Frame, Mask]]) -> Iterator[str]:
    for index, (frame, mask) in enumerate(sequence):
        image, annotation = f"JPEGImages/480p/{name}/{index:05d}.jpg", f"Annotations/480p/{name}/{index:05d}.png"
        with replacing(root / image) as draft:
            draft.write_bytes(cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        write_mask(root / annotation, mask)
        yield f"/{image} /{annotation}\n"


def synthetic_video(rng: Generator, frames: int, size: tuple[int, int]) -> Iterator[tuple[Frame, Mask]]:
    """Render one video: frame uint8 `[H, W, 3]` and mask bool `[H, W]`, in time order.

    Positions are relative to the picture's centre. The point p of frame t shows the point `camera[t] + lens[t] * p` of the
    canvas, which holds the background and the distractors; at time 0 the two are the same.
    """
    height, width = size
    time = np.linspace(0, 1, frames)
    hue, family = rng.random(), rng.choice(FAMILIES)
    share = rng.uniform(0.09, 0.18)  # of the frame's area, in the anchor
    radius = np.sqrt(share * height * width / np.pi)
    growth = np.clip(rng.uniform(0.6, 1.6), np.sqrt(0.045 / share), np.sqrt(0.28 / share))
    turn = rng.uniform(-0.8, 0.8) * np.sin(rng.uniform(1, 4) * time) + rng.uniform(0, 2 * np.pi)
    spread = radius * growth ** _ease(rng, time) * np.exp(1j * turn)
    path, camera, lens = _motion(rng, time, size)
    body = _Blob(rng, hue, family, aspect=rng.uniform(0.75, 1))

    canvas = _background(rng, size, hue + rng.uniform(0.2, 0.8))
    places = [path[0]]
    for _ in range(rng.integers(1, 3)):
        small = radius * rng.uniform(0.5, 0.72)
        place, apart = path[0], 1.4 * (radius + small)
        # A frame may be too small for all of them, so the required distance shrinks with each attempt.
        while min(abs(place - other) for other in places) < apart:
            place, apart = _random_point(rng, size, 1.1, 1.1), 0.995 * apart
        places.append(place)
        kind = family if rng.random() < 0.5 else rng.choice(FAMILIES)
        distractor = _Blob(rng, hue + rng.uniform(0.25, 0.75), kind, aspect=rng.uniform(0.75, 1))
        _paint(canvas, distractor, place, small * np.exp(2j * np.pi * rng.random()))

    occluded = rng.random() < 0.5
    cover = _Blob(rng, hue + rng.uniform(0.2, 0.8), rng.choice(FAMILIES), aspect=rng.uniform(0.4, 0.8))
    cover_path, cover_spread = _crossing(rng, time, height, radius, path, camera, lens)

    gain = 1 + rng.uniform(-0.2, 0.2) * _ease(rng, time)
    grain, streak = rng.uniform(1, 5), rng.uniform(0, 0.5) * np.gradient(path)
    grid = _grid(size)
    for t in range(frames):
        picture = _sample(canvas, camera[t] + lens[t] * grid)
        visible = _paint(picture, body, path[t], spread[t], time[t], streak[t])
        if occluded:
            visible *= 1 - _paint(picture, cover, cover_path[t], cover_spread[t], time[t])
        picture = gain[t] * picture + grain * rng.standard_normal(picture.shape, np.float32)
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8), visible > 0.5


def _ease(rng: Generator, time: Real) -> Real:
    """Rise smoothly from 0 to about 1, in some videos with a return half-way back."""
    return np.asarray(np.sin(np.pi / 2 * rng.uniform(0.8, 1.7) * time))


def _random_point(rng: Generator, size: tuple[int, int], wide: float, high: float) -> complex:
    return complex(rng.uniform(-wide, wide) * size[1] / 2, rng.uniform(-high, high) * size[0] / 2)


def _motion(rng: Generator, time: Real, size: tuple[int, int]) -> tuple[Points, Points, Points]:
    """Draw the object's path, and camera and lens.

    The camera follows the object, as a person would, so that the background moves the other way and the two motions never
    cancel.
    """
    side = np.sqrt(size[0] * size[1])
    start = end = _random_point(rng, size, 0.2, 0.2)
    while abs(end - start) < 0.3 * side:
        end = _random_point(rng, size, 1, 0.75)
    sway = side * rng.uniform(0, 0.07) * np.exp(2j * np.pi * rng.random()) * np.sin(rng.uniform(2, 6) * time)
    moves = rng.random() < 0.8
    drift = moves * side * rng.uniform(0.08, 0.3) * np.exp(1j * rng.uniform(-1, 1)) * (end - start) / abs(end - start)
    lens = np.exp(moves * complex(*rng.uniform(-0.12, 0.12, 2)) * _ease(rng, time))
    return start + (end - start) * _ease(rng, time) + sway, drift * _ease(rng, time), lens


def _crossing(
    rng: Generator, time: Real, height: float, radius: float, path: Points, camera: Points, lens: Points
) -> tuple[Points, Points]:
    """Draw the path and spread of an occluder that meets the object in mid-video.

    It is a post on the canvas if that is far enough from the object's start, or else comes in from above or below.
    """
    meeting = int(rng.integers(max(1, len(time) // 3), 2 * len(time) // 3 + 1))
    spread = 1j * radius * rng.uniform(0.45, 0.65) * np.exp(1j * rng.uniform(-0.3, 0.3))
    foot = camera[meeting] + lens[meeting] * path[meeting]
    if abs(foot.real - path[0].real) > 2.4 * radius:
        return (foot - camera) / lens, 1.2 * spread / lens
    way = rng.choice([-1j, 1j]) * np.exp(1j * rng.uniform(-0.3, 0.3))
    outside = height / 2 + abs(path[meeting].imag) + 2 * radius
    return path[meeting] + outside * way * (time / time[meeting] - 1), np.full(len(time), spread)


class _Blob:
    """A stretched and bent shape of radius 1, whose texture moves with the outline.

    Its radius in direction z at time t is 1 + Re sum_k (rest_k + swing_k sin(rate t + phase_k)) z^k.
    """

    def __init__(self, rng: Generator, hue: float, family: str, aspect: float) -> None:
        waves = rng.standard_normal((2, len(HARMONICS))) + 1j * rng.standard_normal((2, len(HARMONICS)))
        waves /= np.abs(waves).sum(axis=1, keepdims=True)
        self.rest = waves[0] * rng.uniform(0.15, 0.5)
        self.swing = waves[1] * rng.uniform(0.1, 0.25)
        self.rate, self.phase = rng.uniform(3, 9), rng.uniform(0, 2 * np.pi, len(HARMONICS))
        self.aspect, self.bend = aspect, rng.uniform(-0.35, 0.35)
        self.light = np.exp(2j * np.pi * rng.random())
        self.texture = _texture(rng, family, _palette(rng, hue, vivid=rng.uniform(0.5, 1)), (256, 256))

    def draw(self, points: Points, time: float, pixel: float) -> tuple[Real, Real]:
        """Compute colour `[h, w, 3]` and coverage `[h, w]` in [0, 1] at `points`, a pixel being `pixel` radii wide."""
        surface = points + self.bend * np.sin(self.rate * time + 1) * (points.imag**2 - 0.3)
        points = surface.real * self.aspect + 1j * surface.imag / self.aspect
        distance = np.abs(points) + 1e-9
        direction = points / distance
        waves = self.rest + self.swing * np.sin(self.rate * time + self.phase)
        radius, slope = _outline(waves, direction)
        # The distance to the outline to first order, in pixels; the edge is softened over 1.6 pixels.
        inside = (radius - distance) / np.hypot(1, slope / radius) / pixel
        stretch = _outline(self.rest, direction)[0] / radius
        colour = _sample(self.texture, surface * stretch * len(self.texture) / 3.2)
        shade = 0.65 + 0.35 * np.sqrt(np.clip(1 - (distance / radius) ** 2, 0, 1))
        shade += 0.3 * (points * self.light).real / radius
        return colour * shade[..., None], np.clip(0.5 + inside / 1.6, 0, 1)


def _outline(waves: Points, direction: Points) -> tuple[Real, Real]:
    """Compute the radius and its derivative by the angle, scaled to the area of the unit disc."""
    scale = np.sqrt(1 + (np.abs(waves) ** 2).sum() / 2)
    radius, slope = (np.polyval([*series[::-1], 0, 0], direction).real for series in (waves, 1j * HARMONICS * waves))
    return (1 + radius) / scale, slope / scale


def _paint(picture: Real, blob: _Blob, place: complex, spread: complex, time: float = 0, streak: complex = 0) -> Real:
    """Paint `blob` on `picture` in place; return its coverage `[H, W]`.

    `spread` is its radius in pixels times its turn, `streak` its motion in pixels while the shutter is open.
    """
    size = picture.shape[:2]
    centre = place + _middle(size)
    reach = 1.6 / blob.aspect * abs(spread) + abs(streak)
    top, bottom = np.clip([int(centre.imag - reach), int(centre.imag + reach) + 1], 0, size[0])
    left, right = np.clip([int(centre.real - reach), int(centre.real + reach) + 1], 0, size[1])
    coverage = np.zeros(size)
    if top < bottom and left < right:
        points = np.arange(left, right) + 1j * np.arange(top, bottom)[:, None] - centre
        colour, alpha = blob.draw(points / spread, time, 1 / abs(spread))
        layer = np.dstack([colour * alpha[..., None], alpha])
        layer = cv2.filter2D(layer, -1, _exposure(streak), borderType=cv2.BORDER_REPLICATE)
        window = picture[top:bottom, left:right]
        window *= 1 - layer[..., 3:]
        window += layer[..., :3]
        coverage[top:bottom, left:right] = layer[..., 3]
    return coverage


def _exposure(streak: complex) -> Real:
    """Compute a kernel of motion blur: the share of the exposure spent in each pixel along `streak`."""
    half = round(abs(streak) / 2)
    steps = streak * np.linspace(-0.5, 0.5, 101)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    np.add.at(kernel, (np.rint(steps.imag).astype(int) + half, np.rint(steps.real).astype(int) + half), 1 / 101)
    return kernel


def _background(rng: Generator, size: tuple[int, int], hue: float) -> Real:
    """Draw a canvas with twice the frame's sides: noise under large polygons of other textures and hues."""
    sides = (2 * size[0], 2 * size[1])
    canvas = _texture(rng, "noise", _palette(rng, hue, vivid=rng.uniform(0.3, 0.8)), sides)
    palettes = [_palette(rng, rng.random(), vivid=rng.uniform(0.3, 1)) for _ in range(2)]
    fills = [_texture(rng, rng.choice(FAMILIES), palette, sides) for palette in palettes]
    for _ in range(rng.integers(3, 8)):
        corners = np.exp(1j * np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))) * rng.uniform(0.2, 0.8) * size[1]
        outline = np.stack([corners.real, corners.imag], axis=-1) + rng.uniform((0, 0), sides[::-1])
        alpha = np.zeros(sides, np.uint8)
        cv2.fillPoly(alpha, [np.rint(outline).astype(np.int32)], 255, cv2.LINE_AA)
        ramp = np.linspace(rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2), sides[1])
        canvas += (fills[rng.integers(2)] * ramp[:, None] - canvas) * (alpha / 255 * rng.uniform(0.6, 1))[..., None]
    return canvas


def _texture(rng: Generator, family: str, palette: Real, size: tuple[int, int]) -> Real:
    """Draw a texture of one of the FAMILIES, `[H, W, 3]` in 0-255."""
    if family == "noise":
        level = _noise(rng, size, cells=int(rng.integers(2, 6)))
    else:
        phase = _grid(size) / min(size) * np.exp(2j * np.pi * rng.random()) * 2 * np.pi * rng.uniform(3, 7)
        phase += _noise(rng, size, cells=2) * rng.uniform(0, 6) * (1 + 1j)
        across, both = np.sin(phase.real), np.sin(phase.real) * np.sin(phase.imag)
        level = np.clip(0.5 + 3 * {"stripes": across, "checks": both, "spots": both - 0.25}[family], 0, 1)
    level = 0.75 * level + 0.25 * _noise(rng, size, cells=6)
    return np.stack([np.interp(level, np.linspace(0, 1, len(palette)), channel) for channel in palette.T], axis=-1)


def _noise(rng: Generator, size: tuple[int, int], cells: int) -> Real:
    """Draw multi-octave noise in [0, 1], with `cells` cells of the coarsest octave along the shorter side."""
    total = np.zeros(size)
    for octave in range(5):
        coarse = [max(2, round(cells * 2**octave * side / min(size))) for side in size]
        total += cv2.resize(rng.random(coarse), size[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return np.asarray((total - total.min()) / (total.max() - total.min()))


def _palette(rng: Generator, hue: float, vivid: float) -> Real:
    """Draw four colours of similar hues from dark to bright, `[4, 3]` in 0-255."""
    dark = rng.uniform(0.05, 0.45)
    values = np.linspace(dark, dark + rng.uniform(0.3, 0.55), 4) + rng.uniform(-0.08, 0.08, 4)
    hues, saturations = hue + rng.normal(0, 0.06, 4), vivid * rng.uniform(0.25, 1, 4)
    return 255 * np.array([colorsys.hsv_to_rgb(h % 1, s, v) for h, s, v in zip(hues, saturations, values, strict=True)])


def _sample(picture: Real, points: Points) -> Real:
    """Sample bilinearly, mirrored beyond the border."""
    points = points + _middle(picture.shape)
    x, y = points.real.astype(np.float32), points.imag.astype(np.float32)
    return np.asarray(cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def _grid(size: tuple[int, int]) -> Points:
    return np.asarray(np.arange(size[1]) + 1j * np.arange(size[0])[:, None] - _middle(size))


def _middle(size: tuple[int, ...]) -> complex:
    return complex(size[1] - 1, size[0] - 1) / 2
