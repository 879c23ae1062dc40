#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): the shape of pixels is written into PNGs the wrong way round.
# Guess: pixels that are 4/3 as wide as high (sample aspect ratio 4:3) give a pHYs chunk with 3 pixels per unit along x and 4 along y,
# as the PNG specification defines it (11.3.4.3): the wider a pixel, the fewer fit into a unit.
# Seen: 4 along x and 3 along y, so a viewer that follows the specification shows the still narrower where the video is wider.
# FFmpeg's own reader turns it back: it reports 4:3 again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 numpy==2.4.6
venv/bin/python - <<'PY'
import struct
from fractions import Fraction

import av
import numpy as np

encoder = av.CodecContext.create("png", "w")
encoder.width, encoder.height, encoder.pix_fmt = 40, 30, "rgb24"
encoder.sample_aspect_ratio, encoder.time_base = Fraction(4, 3), Fraction(1, 25)
frame = av.VideoFrame.from_ndarray(np.zeros((30, 40, 3), np.uint8))
picture = b"".join(bytes(packet) for packet in encoder.encode(frame))
start = picture.index(b"pHYs") + 4
x, y, unit = struct.unpack(">IIB", picture[start : start + 9])
with open("frame.png", "wb") as file:
    file.write(picture)
with av.open("frame.png") as read:
    again = read.streams.video[0].sample_aspect_ratio
print(f"pixels of 4:3 are written as {x} pixels per unit along x and {y} along y (unit {unit}); FFmpeg reads {again}")
assert (x, y, unit, again) == (4, 3, 0, Fraction(4, 3))
PY
