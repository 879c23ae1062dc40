#!/usr/bin/env bash
# moviepy 2.2.1 with imageio-ffmpeg 0.8.1 (FFmpeg 9.0.2): a clip that says it is to be turned is turned, and squashed into its old shape.
# Guess: frames of 64x48 that are to be turned by 90 degrees are 48 wide and 64 high, as they are with imageio-ffmpeg 0.6.0 (FFmpeg 7.0.2).
# Seen: moviepy reads the angle from what FFmpeg prints, which now has it as "Display Matrix" in place of "displaymatrix". It finds no angle
# and asks for 64x48, and FFmpeg, which turns the frames all the same, scales them to that. With the older FFmpeg the frames are exact.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet moviepy==2.2.1 av==18.1.0 numpy==2.3.4
cat > read.py <<'PY'
import subprocess
import sys

import av
import imageio_ffmpeg
import moviepy
import numpy as np

y, x = np.indices((48, 64), np.uint8)
with av.open("plain.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv444p", options={"crf": "5"})
    for _ in range(10):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.dstack([4 * x, 5 * y, np.full_like(x, 128)]))))
    container.mux(stream.encode())
command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-display_rotation", "90", "-i", "plain.mp4", "-c", "copy", "turned.mp4"]
subprocess.run(command, check=True)
frames = {}
for name in ("plain", "turned"):
    with moviepy.VideoFileClip(f"{name}.mp4", audio=False) as clip:
        print(f"FFmpeg {imageio_ffmpeg.get_ffmpeg_version()}: {name} {clip.w}x{clip.h}, rotation {clip.rotation}")
        frames[name] = clip.get_frame(0).astype(int)
upright = np.rot90(frames["plain"])
assert frames["plain"].shape == (48, 64, 3)
if sys.argv[1] == "0.6.0":
    assert frames["turned"].shape == (64, 48, 3) and np.abs(frames["turned"] - upright).max() <= 2
else:
    rows, columns = np.arange(48) * 64 // 48, np.arange(64) * 48 // 64
    assert frames["turned"].shape == (48, 64, 3) and np.abs(frames["turned"] - upright[rows][:, columns]).mean() < 5
    assert np.abs(frames["turned"] - frames["plain"]).mean() > 50
PY
for version in 0.6.0 0.8.1; do
  venv/bin/pip install --quiet imageio-ffmpeg==$version
  venv/bin/python read.py $version
done
