"""Videos on disk: their frames and annotations, reading and writing these, and fingerprints of whole datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from adnet.errors import UserError
from adnet.shared.files import replacing

Frame = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Probability = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sequence:
    """One video.

    `frames` are image paths in time order; `annotations` maps a frame's stem (`"00012"`) to its annotation and may be
    sparse. `attributes` are the dataset's labels for the video (DAVIS: `OCC`, `FM`, ...). `regions` are the annotations'
    labels for `read_mask`; without any, every label but 0 is foreground. `weight` is the relative probability that a
    training pair is drawn from the video.
    """

    name: str
    frames: tuple[Path, ...]
    annotations: Mapping[str, Path]
    attributes: tuple[str, ...] = ()
    regions: tuple[int, ...] = ()
    weight: float = 1.0

    @property
    def annotated(self) -> list[int]:
        """Indices of the frames that have an annotation."""
        return [index for index, frame in enumerate(self.frames) if frame.stem in self.annotations]

    def annotation(self, frame: Path) -> Mask:
        """Read the annotation of `frame`: bool `[H, W]`. Raises KeyError if the frame has none."""
        return read_mask(self.annotations[frame.stem], self.regions)


@dataclass(frozen=True)
class VideoDataset:
    """Sequences of one split, at least one.

    `scored` is the benchmark's rule for the frames that count: `"inner"` leaves out each sequence's first and last frame
    (DAVIS-2016), `"all"` takes every annotated frame. Raises UserError if there is no sequence.
    """

    name: str
    split: str
    root: Path
    sequences: tuple[Sequence, ...]
    scored: Literal["inner", "all"] = "inner"

    def __post_init__(self) -> None:
        if not self.sequences:
            raise UserError(f"{self.name} {self.split} has no sequences; check the dataset in {self.root}")


def fingerprint(dataset: VideoDataset) -> dict[str, Any]:
    """Return names, sizes, and a SHA-256 each of the annotations and the frames: equal for equal data, wherever it lies."""
    digest, frames = hashlib.sha256(), hashlib.sha256()
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            digest.update(f"{sequence.name}/{frame.stem}\n".encode())
            frames.update(hashlib.sha256(frame.read_bytes()).digest())
            if frame.stem in sequence.annotations:
                digest.update(hashlib.sha256(sequence.annotations[frame.stem].read_bytes()).digest())
    return {
        "sequences": [sequence.name for sequence in dataset.sequences],
        "frames": sum(len(sequence.frames) for sequence in dataset.sequences),
        "sha256": digest.hexdigest(),
        "frames_sha256": frames.hexdigest(),
    }


def evenly_spaced(total: int, count: int) -> list[int]:
    """Choose at most `count` different indices in [0, total), including the first and the last if `count` > 1."""
    return sorted({round(index) for index in np.linspace(0, total - 1, min(count, total)).tolist()})


def read_frame(path: Path, reduction: int = 1) -> Frame:
    """Read an image as RGB, uint8 `[H, W, 3]`. Raises UserError if it can't be read.

    A JPEG is decoded at 1 / `reduction` (1, 2, 4 or 8) of its size, rounded up, by averaging, which is much faster. Other
    formats are read at full size.

    Examples:
        >>> Image.new("RGB", (80, 48)).save("frame.png")
        >>> read_frame(Path("frame.png")).shape
        (48, 80, 3)
    """
    return np.asarray(open_image(path, reduction).convert("RGB"))


def read_mask(path: Path, regions: tuple[int, ...] = ()) -> Mask:
    """Read an annotation as bool `[H, W]`: every label but 0 is foreground.

    Palette images are read by index, not by colour, and an alpha channel is ignored: if there are both, the label is the
    luminance. A colour is the label `65536 red + 256 green + blue`.

    `regions` lists the labels, the background's first, for datasets whose background isn't 0 (FBMS). Labels that are not
    listed are background, as in the published evaluation of FBMS.

    Raises UserError if the image can't be read, or if no pixel has a label in `regions`.

    Examples:
        >>> write_mask(Path("mask.png"), np.eye(4, dtype=bool))
        >>> read_mask(Path("mask.png"))[0].tolist()
        [True, False, False, False]
    """
    image = open_image(path)
    labels: npt.NDArray[np.generic] = np.asarray(image)
    if image.mode in ("LA", "La", "PA"):
        labels = labels[..., 0]
    elif labels.ndim == 3:
        labels = labels[..., :3] @ np.array([65536, 256, 1])
    if not regions:
        return np.asarray(labels != 0)
    if not np.isin(labels, regions).any():
        raise UserError(f"{path} has none of the labels that its dataset lists for it ({', '.join(map(str, regions))})")
    return np.isin(labels, regions[1:])


def write_mask(path: Path, mask: Mask) -> None:
    """Write bool `[H, W]` as an 8-bit 0/255 PNG, atomically.

    Examples:
        >>> write_mask(Path("masks/00000.png"), np.eye(4, dtype=bool))
        >>> Image.open("masks/00000.png").getextrema()
        (0, 255)
    """
    with replacing(path) as draft:
        Image.fromarray(mask.astype(np.uint8) * 255).save(draft, format="PNG")


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write grey `[H, W]`, RGB `[H, W, 3]` or RGBA `[H, W, 4]`. Atomic: a reader sees the whole file or none."""
    with replacing(path) as draft:
        # Higher levels hardly shrink photographs, but take several times as long.
        Image.fromarray(pixels).save(draft, format="PNG", compress_level=1)


def write_probability(path: Path, probability: Probability) -> None:
    """Write probabilities `[H, W]` in [0, 1] as an 8-bit grey PNG, round(255 p), atomically."""
    write_png(path, np.rint(255 * probability).astype(np.uint8))


def is_whole_png(path: Path) -> bool:
    """Return whether a file begins and ends like a PNG, unlike an incomplete file or one of another format."""
    content = path.read_bytes() if path.is_file() else b""
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content[-8:-4] == b"IEND"


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's height and width in pixels from its header."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception as error:  # decoders may raise anything
        raise _unreadable(path, error) from error


def open_image(path: Path, reduction: int = 1) -> Image.Image:
    """Read a whole image file; `reduction` is as in `read_frame`. Raises UserError if it can't be read."""
    try:
        image: Image.Image = Image.open(path)
        with image:
            if reduction > 1:
                image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
            image.load()
        return image
    except Exception as error:  # see image_size
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    missing = isinstance(error, FileNotFoundError)
    reason = "it does not exist" if missing else (str(error) or type(error).__name__).splitlines()[0]
    return UserError(f"cannot read the image {path}: {reason}; replace the file")
