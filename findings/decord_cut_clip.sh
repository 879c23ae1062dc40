#!/usr/bin/env bash
# decord 0.6.0 and decord2 3.4.0: in a clip cut without re-encoding, frame 20 depends on which frame was read before.
# Guess: the same picture for an index, in whatever order it is asked for.
# Seen: a clip cut at 0.3 s keeps the frames since the key frame before, and an edit list that hides them. Read one after
# the other, frame i is the i-th shown, as in PyAV, and the last is repeated for each hidden one; asked for directly, frame
# i is the i-th stored: another picture, eight frames earlier. len() counts stored frames: 30 where 22 are shown.
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

with av.open("whole.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p", options={"bf": "2"})
    stream.codec_context.gop_size = 10
    for index in range(30):
        frame = np.full((48, 64, 3), 10 + 6 * index, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())
ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-ss", "0.3"]
subprocess.run([*ffmpeg, "-i", "whole.mp4", "-c", "copy", "cut.mp4"], check=True)


def which(frame):
    """Tell which frame of the whole clip a picture is, by its brightness."""
    return round((float(frame.mean()) - 10) / 6)


with av.open("cut.mp4") as container:
    shown = [which(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
reader = decord.VideoReader("cut.mp4")
in_order = [which(reader[index].asnumpy()) for index in range(len(reader))]
directly = [which(decord.VideoReader("cut.mp4")[index].asnumpy()) for index in range(len(reader))]
print(f"{sys.argv[1]}: PyAV {len(shown)} frames {shown}")
print(f"in order {len(in_order)} frames {in_order}")
print(f"directly {directly}")
assert len(shown) == 22
assert in_order == shown + 8 * shown[-1:]
assert in_order[20] == shown[20] == directly[20] + 8
PY
for reader in decord==0.6.0 decord2==3.4.0; do
  venv/bin/pip install --quiet --no-deps --target "$reader" "$reader"
  PYTHONPATH=$reader venv/bin/python read.py "$reader"
  rm whole.mp4 cut.mp4
done
