"""Read pictures: the one way from a file to pixels, for frames, anchors and masks, in every command.

A picture is upright: the orientation that its EXIF data state is applied. What a file can't be understood as is refused.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence, PngImagePlugin, UnidentifiedImageError

from adnet.data.hdr import HLG, PQ, tone_mapped
from adnet.errors import UserError
from adnet.shared.files import replacing

Frame = npt.NDArray[np.uint8]

IMAGES = frozenset(
    {".apng", ".avif", ".bmp", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
)
IMAGES |= {".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}

SEVERAL = frozenset({"AVIF", "GIF", "PNG", "TIFF", "WEBP"})
"""Formats whose files may hold several pictures. Those in a JPEG (MPO) are previews and depth or gain maps of the first."""

LOSSY = frozenset({"AVIF", "JPEG", "JPEG2000", "MPO"})

TWELVE_BITS = 4096
AS_OF_12_BITS = "as if of 12 bits: it would be black; scale the values to 65535, or write 8 bits"

# Programs that generate pictures write how, in more than the mebibyte at which Pillow refuses the picture.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientations."""


class Picture(NamedTuple):
    """A picture as stored, but upright.

    `lossy` is the name of its format, if its values are not exactly those written, otherwise "". `deep`: colours of 16 bits, cut
    to 8. `white_is_0`: of a TIFF that stores brightness so. `transfer`: the transfer characteristics of a PNG or an AVIF, as
    H.273 numbers them; 0: none.
    """

    image: Image.Image
    lossy: str
    deep: bool
    white_is_0: bool
    transfer: int


def read_frame(path: Path, reduction: int = 1) -> Frame:
    """Read an image as RGB, uint8 `[H, W, 3]`. Raises UserError if it can't be read, and if it is several pictures.

    A JPEG is decoded at 1 / `reduction` (1, 2, 4 or 8) of its size, rounded up, by averaging, which is much faster; other formats
    at full size. Of 16 bits the upper 8 are taken; floating-point numbers are from 0, black, to 1, white. An alpha channel is left
    out, and high dynamic range is shown as on an ordinary screen (`tone_mapped`).

    Examples:
        >>> Image.new("RGB", (80, 48)).save("frame.png")
        >>> read_frame(Path("frame.png")).shape
        (48, 80, 3)
    """
    return _rgb(path, open_picture(path, reduction))


def read_frames(path: Path) -> Iterator[tuple[Frame, float | None]]:
    """Yield all pictures of a file, as `read_frame` reads one, and how many seconds each is shown; None if the file doesn't say.

    Raises UserError AFTER the last readable one if one can't be read.
    """
    with _opened(path) as file:
        for image in _pictures(file):
            picture = _upright(path, image)
            milliseconds = float(image.info.get("duration") or 0) if file.format != "TIFF" else 0
            yield _rgb(path, picture), milliseconds / 1000 or None


def count_pictures(path: Path) -> int:
    """Count the pictures in a file, from its headers: 1 for one that can't be read."""
    try:
        with path.open("rb") as stream, Image.open(stream) as file:
            return sum(1 for _ in _pictures(file))
    except Exception:  # decoders may raise anything; the reader will say so
        return 1


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's height and width in pixels from its header. Raises UserError as `read_frame` does."""
    with _opened(path) as image:
        _seek_single(path, image)
        _check_tiff(path, image)
        if image.format == "PNG" and "exif" not in image.info and b"eXIf" in _part(path, head=False):
            image.load()  # the EXIF data come last
        turned = image.format != "TIFF" and _orientation(image) in range(5, 9)  # Pillow gives a TIFF's size when turned
        return (image.width, image.height) if turned else (image.height, image.width)


def check_same_size(
    one: object, size: tuple[int, ...], other: object, other_size: tuple[int, ...], advice: str = "resize one"
) -> None:
    """Raise UserError, naming both, for two pictures that differ in height and width in pixels."""
    if size != other_size:
        shown, other_shown = (f"{width}x{height}" for height, width in (size, other_size))
        raise UserError(f"{one} is {shown} and {other} {other_shown}, both upright: {advice}")


def open_picture(path: Path, reduction: int = 1) -> Picture:
    """Read a whole image file; `reduction` is as in `read_frame`. Raises UserError as `read_frame` does."""
    with _opened(path) as image:
        _seek_single(path, image)
        if reduction > 1:
            image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
        return _upright(path, image)


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write grey `[H, W]`, RGB `[H, W, 3]` or RGBA `[H, W, 4]`. Atomic: a reader sees the whole file or none."""
    with replacing(path) as draft:
        # Higher levels hardly shrink photographs, but take several times as long.
        Image.fromarray(pixels).save(draft, format="PNG", compress_level=1)


def is_whole_png(path: Path) -> bool:
    """Return whether a file begins and ends like a PNG, unlike an incomplete file or one of another format."""
    content = path.read_bytes() if path.is_file() else b""
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content[-8:-4] == b"IEND"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image file; whatever is raised until it is closed becomes a UserError."""
    try:
        # By its name, Pillow would map an uncompressed TIFF into memory, and garble it if it has to be turned.
        with path.open("rb") as stream, Image.open(stream) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # decoders may raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, FileNotFoundError):
            reason = "it does not exist"
        elif isinstance(error, UnidentifiedImageError):
            reason = _unidentified(path)
        raise UserError(f"cannot read the image {path}: {reason}; replace the file") from error


def _unidentified(path: Path) -> str:
    head = _part(path)[:512]
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        return "it is HEIC or a video: convert it to JPEG"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "it is a TIFF of a kind that is not read: write 8 or 16 bits"
    return "it is text" if head.isascii() and b"\0" not in head else "it is of no known format, or damaged"


def _seek_single(path: Path, image: Image.Image) -> None:
    """Bring a file to its picture, behind a preview if there is one. Raises UserError if it holds several pictures."""
    if image.format in SEVERAL and getattr(image, "n_frames", 1) > 1:
        places = [picture.tell() for picture in _pictures(image)]
        if len(places) > 1:
            raise UserError(f"{path} holds {len(places)} pictures, where one is needed: write each to its own file")
        image.seek(places[0] if places else 0)


def _check_tiff(path: Path, image: Image.Image) -> None:
    """Raise UserError for a TIFF that Pillow, without a word, reads as something else than it is."""
    tags, pages = getattr(image, "tag_v2", {}), getattr(image, "n_frames", 1)
    text = str(tags.get(270, ""))
    stack = re.match(r"ImageJ=.*?^images=(\d+)", text, re.DOTALL | re.MULTILINE)
    of_imagej_or_ome = r'(?:^(?=[a-z])|Size)(channels|slices|frames|[CZT])="?(\d+)'
    axes = re.findall(of_imagej_or_ome, text, re.MULTILINE)
    moments = max((int(count) for axis, count in axes if axis not in ("channels", "C")), default=1)
    kinds = (
        ("holds only a preview of its picture, as a camera's raw files do", tags.get(254, 0) & 1 and 330 in tags),
        ("is a stack that only ImageJ can read", stack and int(stack[1]) > pages),
        ("is a stack of several channels, or of slices at several times", axes and pages > moments),
        ("has planes of 16 bits for each colour", tags.get(284) == 2 and max(tags.get(258, (8,))) > 8),
        ("has signed numbers of 8 bits", image.mode == "L" and 2 in tags.get(339, ())),
    )
    if kind := next((text for text, true in kinds if true), None):
        raise UserError(f"{path} {kind}, which is not read: write PNG, or TIFF with 8 bits for each colour of a pixel")


def _pictures(file: Image.Image) -> Iterator[Image.Image]:
    """Yield the file at each of its pictures, without previews: a TIFF's smaller versions, the still image of a PNG animation."""
    if file.format not in SEVERAL or getattr(file, "n_frames", 1) == 1:
        yield file
        return
    for index, image in enumerate(ImageSequence.Iterator(file)):
        preview = file.format == "TIFF" and getattr(image, "tag_v2", {}).get(254, 0) & 0b101
        still = index == 0 and file.info.get("default_image")
        if not preview and not still:
            yield image
    file.seek(0)


def _upright(path: Path, image: Image.Image) -> Picture:
    """Load the picture and turn it as its EXIF data say. Raises UserError as `_check_tiff` does."""
    _check_tiff(path, image)
    tiles = [str(tile[3]) for tile in getattr(image, "tile", ())]
    deep = any(("RGB" in tile and ";16" in tile) or "LA;16" in tile or tile == "('RGB', 65535)" for tile in tiles)
    lossy = image.format in LOSSY or (image.format == "WEBP" and b"VP8L" not in _part(path))
    white_is_0 = getattr(image, "tag_v2", {}).get(262) == 0
    image.load()
    # Not before it is loaded: a PNG's EXIF data may come last, and Pillow turns a TIFF itself.
    turn = _UPRIGHT.get(_orientation(image))
    if white_is_0 and image.mode.startswith("I;16"):  # Pillow heeds it for 8 bits only
        image = Image.fromarray(65535 - np.asarray(image))
    upright = image if turn is None else image.transpose(turn)
    head = _part(path).partition(b"IDAT")[0] if image.format in ("PNG", "AVIF") else b""
    # The transfer function, which FFmpeg, for one, writes into the frames of a video.
    found = re.search(rb"cICP.(.)|colrnclx...(.)", head, re.DOTALL)
    transfer = int.from_bytes(found[1] or found[2], "big") if found else 0
    return Picture(upright, str(image.format) if lossy else "", deep, white_is_0, transfer)


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8, as far as it has been read; 1 if there is none."""
    try:
        # A PNG's own method would decode all of it.
        return int(Image.Image.getexif(image).get(0x0112, 1))
    except Exception:  # damaged EXIF data of an intact picture
        return 1


def _part(path: Path, head: bool = True) -> bytes:
    """Read the first, or last, 64 KiB of a file."""
    with path.open("rb") as file:
        if not head:
            file.seek(max(0, path.stat().st_size - 65536))
        return file.read(65536)


def check_range(path: Path, values: npt.NDArray[Any], most: int, advice: str = "") -> None:
    """Raise UserError for values of a picture that are not from 0 to `most`, black to white."""
    if not (values.min() >= 0 and values.max() <= most):
        limits = f"{values.min():.6g} to {values.max():.6g}"
        raise UserError(f"{path} has values from {limits}: {advice or f'scale them to 0 to {most}, or write 8 bits'}")


def _rgb(path: Path, picture: Picture) -> Frame:
    """Convert a picture to RGB, uint8 `[H, W, 3]`. Raises UserError if its values have no plain meaning as brightness."""
    image = picture.image
    if image.mode[0] in "FI":  # floating-point numbers, or 16 bits
        values, most = np.asarray(image), 1 if image.mode == "F" else 65535
        check_range(path, values, most)
        if most > 1 and 0 < values.max() < TWELVE_BITS:
            raise UserError(f"{path} has 16 bits, but no value above {values.max()}, {AS_OF_12_BITS}")
        grey = (np.rint(255 * values) if most == 1 else values >> 8).astype(np.uint8)
        frame = np.repeat(grey[..., None], 3, axis=-1)
    else:
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # by itself Pillow warns that it is left out
        frame = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if picture.deep and 0 < frame.max() <= TWELVE_BITS >> 8:  # a decoder may have rounded up
        raise UserError(f"{path} has 16 bits, but only dark values, {AS_OF_12_BITS}")
    return tone_mapped(frame * np.uint16(257), picture.transfer) if picture.transfer in (PQ, HLG) else frame
