"""Read and write masks: the one rule by which a picture of any kind becomes foreground and background.

- A **label image** holds a number for each object, and 0 for the background: every label but 0 is foreground. In grey or colour,
  its areas are flat; a palette is read by index, unless all of its colours are grey (two-colour palettes), where brightness counts.
- A **soft mask** is bright on the foreground, with smooth edges or the noise of JPEG: foreground is what has at least half of the
  brightest value.
- An **alpha mask** is the alpha channel of a picture (a cut-out, a brush on a transparent layer), read as a soft mask. An opaque
  alpha channel says nothing and is left out.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.data.pictures import Picture, check_range, open_picture
from adnet.errors import UserError
from adnet.shared.files import replacing

Mask = npt.NDArray[np.bool_]
Probability = npt.NDArray[np.float32]
Values = npt.NDArray[Any]

MOST_LABELS = 20
"""A grey picture with more values than this, or above it, may be a soft mask or a probability map and not labels of objects."""

VOID = 255

_RUNS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)
"""Settings that code a mask's runs: as small as Pillow's best, in a fifth of its time."""


def read_mask(path: Path, regions: tuple[int, ...] = ()) -> Mask:
    """Read an annotation as bool `[H, W]`, by the rule of this module.

    `regions` lists the labels, the background's first, for datasets whose background isn't 0 (FBMS); then a colour is the label
    `65536 red + 256 green + blue`, an alpha channel is ignored, and labels that are not listed are background, as in the published
    evaluation of FBMS. Raises UserError if the image can't be read, is neither labels nor a soft mask, or has none of `regions`.

    Examples:
        >>> write_mask(Path("mask.png"), np.eye(4, dtype=bool))
        >>> read_mask(Path("mask.png"))[0].tolist()
        [True, False, False, False]
    """
    picture = open_picture(path)
    if not regions:
        return foreground(path, mask_values(path, picture), picture.lossy)
    labels = _labels(picture.image)
    if not np.isin(labels, regions).any():
        raise UserError(f"{path} has none of the labels that its dataset lists for it ({', '.join(map(str, regions))})")
    return np.isin(labels, regions[1:])


def mask_values(path: Path, picture: Picture) -> Values:
    """Return what a mask or a probability map holds: bool `[H, W]` if its form says what is foreground, otherwise grey values.

    These are uint8, uint16 or floats. Raises UserError for a picture that is no mask.
    """
    image = picture.image
    if picture.white_is_0:  # tifffile writes bool so, ImageJ inverted LUTs: both mean the numbers, others what is seen
        raise UserError(f"{path} is a TIFF in which 0 is white: is the object white, or 1? Write it as PNG, 0 and 255")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (image.mode == "P" and "transparency" in image.info):
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if image.mode in ("P", "PA") and len(image.getcolors() or ()) <= MOST_LABELS:
            alpha = np.full_like(alpha, 255)  # labels, one of them shown as transparent
        if not 0 < alpha.min() == alpha.max():  # equal everywhere, it says nothing
            return _alpha_mask(path, np.asarray(image.convert("RGB")), alpha)
        image = image.convert("L" if image.mode in ("LA", "La") else "RGB") if image.mode != "P" else image
    if image.mode == "P":
        return _palette_values(path, image)
    if picture.deep:
        whole = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        if whole is not None and 0 < whole[..., :3].max() <= VOID:
            raise UserError(f"{path} has 16 bits for each colour, but only values up to {VOID}: write 8 bits")
    values = np.array(image.convert("RGB") if image.mode not in ("1", "L", "F") and image.mode[0] != "I" else image)
    if image.mode.startswith("I"):
        check_range(path, values, 65535)
        return values.astype(np.uint16)
    if values.ndim == 2:
        return values
    brightest, darkest = values.max(axis=-1), values.min(axis=-1)
    if int((brightest - darkest).max()) <= (8 if picture.lossy else 0):
        return brightest
    if picture.lossy:
        raise UserError(f"{path} is a mask in colours, which {picture.lossy} doesn't keep exactly: write it as PNG")
    return foreground(path, values @ np.array([65536, 256, 1]), brightness=brightest)


def foreground(path: Path, values: Values, lossy: str = "", brightness: Values | None = None) -> Mask:
    """Decide which of the grey values, or labels of colours of a `brightness`, `[H, W]` are foreground: bool `[H, W]`.

    Values of a `lossy` format are a soft mask. Raises UserError for values that are neither labels nor a soft mask, and for labels
    without a background.
    """
    if values.dtype == np.bool_:
        return values
    brightness = values if brightness is None else brightness
    if values.dtype.kind == "f":
        check_range(path, values, 1)
        return _bright(values)
    if lossy:
        _check_soft(path, values, lossy)
        return _bright(values)
    if values.max(initial=0) <= MOST_LABELS:
        return np.asarray(values != 0)
    between = (values != 0) & (brightness != brightness.max())
    if not between.any():
        return _labelled(path, values)
    # In a soft mask, what is neither background nor brightest lies on a slope; in a label image, on the inside of an object.
    few = len(np.unique(values)) <= MOST_LABELS + 1
    if not few:  # a compressed mask has noise of nearly the background's and the brightest value, which is flat
        darkest = int(brightness.min())  # 16 in a frame of a video
        share = (brightness - darkest) / max(1, int(brightness.max()) - darkest)
        between = (share > 1 / 16) & (share < 15 / 16)
    levels = brightness.astype(np.uint16)
    kernel = np.ones((3, 3), np.uint8)
    slope = (cv2.dilate(levels, kernel) > levels) & (cv2.erode(levels, kernel) < levels)
    steep = float((slope & between).sum() / max(1, int(between.sum())))
    if (steep >= 0.5 or not between.any()) and not _is_photograph(levels, between):
        return _bright(brightness)
    if steep < 0.5 and (few or steep < 0.1):
        return _labelled(path, values)
    what = f"{len(np.unique(values))} values, neither flat, as labels are, nor one bright area with soft edges"
    raise UserError(f"{path} is no mask: it has {what}: write it as 0 and 255")


def has_void(path: Path) -> bool:
    """Return whether an annotation is a label image with 255 beside lower labels: one often means "not annotated" or "unknown"."""
    labels = _labels(open_picture(path).image)
    different = np.unique(labels[labels != 0])
    several = 1 < len(different) <= MOST_LABELS and different[-1] == VOID
    return several and bool((read_mask(path) == (labels != 0)).all())  # and no soft mask


def write_mask(path: Path, mask: Mask) -> None:
    """Write bool `[H, W]` as an 8-bit 0/255 PNG, atomically.

    Examples:
        >>> write_mask(Path("masks/00000.png"), np.eye(4, dtype=bool))
        >>> Image.open("masks/00000.png").getextrema()
        (0, 255)
    """
    with replacing(path) as draft:
        draft.write_bytes(cv2.imencode(".png", mask.astype(np.uint8) * 255, _RUNS)[1].tobytes())


def _labels(image: Image.Image) -> Values:
    """Return the numbers in a picture `[H, W]`: those of a palette, grey values, or `65536 red + 256 green + blue`."""
    labels: Values = np.asarray(image)
    if image.mode in ("LA", "La", "PA"):
        return labels[..., 0]
    return labels[..., :3] @ np.array([65536, 256, 1]) if labels.ndim == 3 else labels


def _alpha_mask(path: Path, colours: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8]) -> Mask:
    """Read the alpha channel. Raises UserError if the colours are labels on black that say something else."""
    labels = colours @ np.array([65536, 256, 1])
    different = np.unique(labels)
    labelled = 1 < len(different) <= MOST_LABELS and different[0] == 0
    if labelled and (((labels != 0) & (alpha == 0)) | ((labels == 0) & (alpha == alpha.max()))).any():
        raise UserError(f"{path} has one mask in its colours and another in its alpha channel: write it as 0 and 255")
    mask = _bright(alpha)
    if mask.all():
        raise UserError(f"the alpha channel of {path} is nowhere below half: write the mask as 0 and 255")
    return mask


def _palette_values(path: Path, image: Image.Image) -> Values:
    """Return the brightness of a palette image if its colours are different greys, otherwise where its index is not 0.

    Raises UserError if index 0 is coloured and another black: either may be meant.
    """
    colours = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
    own = colours[: max(2, len(image.palette.palette) // len(image.palette.mode))] if image.palette else colours
    if not (own != own[:, :1]).any() and len(np.unique(own[:, 0])) > 1:
        return np.asarray(image.convert("L"))
    indices = np.asarray(image)
    black = [index for index in np.unique(indices) if index >= len(colours) or not colours[index].any()]
    if colours[0].any() and black:
        either = f"index 0 of its palette, which is not black, or {black[0]}, which is"
        raise UserError(f"the background of {path} may be {either}: write the mask as 0 and 255")
    return np.asarray(indices != 0)


def _labelled(path: Path, labels: Values) -> Mask:
    """Return where labels are not 0. Raises UserError for several without any 0, unless they are small numbers."""
    if MOST_LABELS < labels.max() != labels.min() > 0:
        raise UserError(f"no pixel of {path} is black, the background of labels: write the mask as 0 and 255")
    return np.asarray(labels != 0)


def _check_soft(path: Path, values: Values, lossy: str) -> None:
    """Raise UserError for a grey picture of a lossy format that is labels, or a photograph, and no soft mask."""
    top = int(values.max(initial=0))
    between = (values > top / 10) & (values < top * 7 / 8)
    flat = between & (cv2.morphologyEx(values, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) <= top / 32)
    # The pixels of a label have nearly one brightness, those of a slope have all.
    levels = np.bincount(values[flat].astype(np.int64) * 32 // (top + 1), minlength=32)
    largest = int(np.convolve(levels, (1, 1)).max())
    if 0 < top <= MOST_LABELS or largest > max(int(between.sum()) / 4, int(_bright(values).sum()) / 20):
        raise UserError(f"{path} has areas of grey: {lossy} doesn't keep labels apart; write it as PNG")
    if _is_photograph(values, between):
        raise UserError(f"{path} is no mask: most of it is neither dark nor bright: write it as 0 and 255")


def _is_photograph(levels: Values, between: Mask) -> bool:
    """Return whether most of a picture lies `between` dark and bright `levels`, or much, with grain, which slopes lack."""
    if between.mean() > 0.75:
        return True
    upper = levels > (int(levels.min()) + int(levels.max())) / 2
    rest = min(np.count_nonzero(upper & ~between), np.count_nonzero(~upper & ~between))
    around = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.uint8)
    grain = (levels > cv2.dilate(levels, around)) | (levels < cv2.erode(levels, around))
    inside = between & (cv2.blur(between.astype(np.float32), (9, 9)) > 0.9)  # narrow edges have none
    amount = np.count_nonzero(between)
    return bool(amount > rest and np.count_nonzero(grain & inside) > amount / 100)


def _bright(values: Values) -> Mask:
    return np.asarray((values > 0) & (values >= values.max(initial=0) / 2))
