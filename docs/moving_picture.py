"""Make the README's moving picture: `python docs/moving_picture.py VIDEO MASKS docs/masks.webp`.

`VIDEO` is a folder of a synthetic video's frames, `MASKS` the masks that `adnet.predict` made of them. Writes a looping animated WebP with
each frame beside the same frame under its mask.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from adnet.data import read_frame, read_mask
from adnet.video.overlay import draw_overlay

MILLISECONDS = 160  # per frame


def main(video: Path, masks: Path, target: Path) -> None:
    """Write `target` from `video/*.jpg` and `masks/<frame>.png`."""
    pictures = []
    for path in sorted(video.glob("*.jpg")):
        frame = read_frame(path)
        pictures.append(Image.fromarray(np.hstack([frame, draw_overlay(frame, read_mask(masks / f"{path.stem}.png"))])))
    pictures[0].save(
        target, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, quality=70, method=4
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
