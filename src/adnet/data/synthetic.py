"""Synthetic videos in DAVIS layout, for training in minutes without a download; `adnet.data.synthetic_video` draws them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import Field, NonNegativeInt

from adnet.data.masks import Mask, write_mask
from adnet.data.pictures import Frame
from adnet.data.synthetic_video import synthetic_video
from adnet.errors import UserError
from adnet.shared.files import new_folder, read_json, replacing, write_json, write_text
from adnet.shared.locks import one_at_a_time

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
    occupied = root.is_file() or (
        root.is_dir() and any(root.iterdir())
    )  # first: another process may be about to finish
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
        reason = f"{root} holds synthetic videos of other parameters, {found} instead of {parameters}"
        raise UserError(f"{reason}; choose another folder or delete this one")
    return found is not None


def _write_sequence(root: Path, name: str, sequence: Iterator[tuple[Frame, Mask]]) -> Iterator[str]:
    for index, (frame, mask) in enumerate(sequence):
        image, annotation = f"JPEGImages/480p/{name}/{index:05d}.jpg", f"Annotations/480p/{name}/{index:05d}.png"
        with replacing(root / image) as draft:
            draft.write_bytes(cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
        write_mask(root / annotation, mask)
        yield f"/{image} /{annotation}\n"
