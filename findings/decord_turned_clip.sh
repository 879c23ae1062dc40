#!/usr/bin/env bash
# decord 0.6.0 and decord2 3.4.0: frames of a clip that says it is to be turned are garbled, and batches of it raise.
# Guess: RGB frames [height, width, 3], turned or as stored.
# Seen: frame 5 is [64, 48, 4]: each row holds the 48 turned RGB pixels side by side, then 48 bytes more, and is handed over
# as 48 pixels of four channels, so that three quarters of a row are a jumble of colours. get_batch, which expects three
# channels, raises. Without the rotation a frame is [48, 64, 3] and right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet av==18.1.0 imageio-ffmpeg==0.8.1 numpy==2.3.4
cat > read.py <<'PY'
import subprocess
import sys

import av
import decord
import imageio_ffmpeg
import numpy as np

y, x = np.indices((48, 64), np.uint8)
frame = np.dstack([4 * x, 5 * y, np.full_like(x, 128)])
with av.open("plain.mp4", "w") as container:
    stream = container.add_stream(
        "libx264", rate=25, width=64, height=48, pix_fmt="yuv444p", options={"crf": "5"}
    )
    for _ in range(10):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())
ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-display_rotation", "90"]
subprocess.run([*ffmpeg, "-i", "plain.mp4", "-c", "copy", "turned.mp4"], check=True)
plain, turned = decord.VideoReader("plain.mp4"), decord.VideoReader("turned.mp4")
print(f"{sys.argv[1]}: plain {plain[5].shape}, turned {turned[5].shape}")
assert plain[5].shape == (48, 64, 3)
assert plain.get_batch([0, 5]).shape == (2, 48, 64, 3)
assert turned[5].shape == (64, 48, 4)
upright = np.rot90(frame).astype(int)
as_given = turned[5].asnumpy()[..., :3]
as_rows = turned[5].asnumpy().reshape(64, 192)[:, :144].reshape(64, 48, 3)
print(f"mean error: {np.abs(as_given - upright).mean():.0f} as given, {np.abs(as_rows - upright).mean():.1f} row by row")
assert np.abs(as_rows - upright).mean() < 2
assert np.abs(as_given - upright).mean() > 50
try:
    turned.get_batch([0, 5])
except decord.DECORDError as error:
    print("get_batch:", str(error).splitlines()[0][-80:])
    assert "(12288 vs. 9216)" in str(error)
else:
    sys.exit("get_batch works")
PY
for reader in decord==0.6.0 decord2==3.4.0; do
  venv/bin/pip install --quiet --no-deps --target "$reader" "$reader"
  PYTHONPATH=$reader venv/bin/python read.py "$reader"
  rm plain.mp4 turned.mp4
done
