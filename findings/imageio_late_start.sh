#!/usr/bin/env bash
# imageio 2.38.1 with PyAV 18.1.0: in a clip whose first frame isn't at 0 s, frame 20 asked for by its index is frame 8.
# Guess: imread(index=i) is the i-th frame that imiter gives, as it is in a clip of the same constant frame rate that begins at 0.
# Seen: at 25 frames a second from 0.5 s on, the index is taken for a time since 0: every frame from 13 on is the one 12 earlier, and 2 to 12
# are the first. With constant_framerate=False, which the documentation has for the other kind of clip, all are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet imageio==2.38.1 av==18.1.0 numpy==2.3.4
venv/bin/python - <<'PY'
from fractions import Fraction

import av
import imageio
import imageio.v3 as iio
import numpy as np

print("imageio", imageio.__version__, "PyAV", av.__version__)
assert (imageio.__version__, av.__version__) == ("2.38.1", "18.1.0")


def write(path, first):
    """Write 40 frames at 25 a second, of which the i-th is grey 6 * i, the first at so many milliseconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options={"g": "10"})
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 6 * index, np.uint8))
            frame.pts, frame.time_base = first + 40 * index, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers(frames):
    return [round(frame.mean() / 6) for frame in frames]


everyone = list(range(40))
for suffix in (".mp4", ".mkv"):
    for first, seen in ((0, everyone), (500, [0, 1] + [0] * 11 + everyone[1:28])):
        path = f"from{first}{suffix}"
        write(path, first)
        with av.open(path) as container:
            stream = container.streams.video[0]
            assert stream.start_time * stream.time_base == Fraction(first, 1000) and stream.average_rate == 25
        assert numbers(iio.imiter(path, plugin="pyav")) == everyone
        by_index = numbers(iio.imread(path, plugin="pyav", index=index) for index in everyone)
        print(f"{path}: index 20 is frame {by_index[20]}")
        assert by_index == seen
        with iio.imopen(path, "r", plugin="pyav") as file:
            assert numbers(file.read(index=index, constant_framerate=False) for index in everyone) == everyone
PY
