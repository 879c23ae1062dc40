#!/usr/bin/env bash
# OpenCV 5.0.0 and 4.14.0: a frame warped by the same flow is another frame.
# Guess: remap and warpAffine still round coordinates to 1/32 of a pixel when they interpolate linearly, in both.
# Seen: 4.14.0 rounds: a flow of 0.01 moves nothing, one of 0.02 moves 1/32. 5.0.0 interpolates exactly. Flow and warped
# masks cached by one version don't compare with those of the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.4
cat > warp.py <<'PY'
import sys

import cv2
import numpy as np

frame = np.arange(0, 800, 100, dtype=np.float32)[None]
x = np.arange(8, dtype=np.float32)[None]
for flow in (0.01, 0.02, 0.1):
    by_remap = cv2.remap(frame, x + np.float32(flow), np.zeros_like(x), cv2.INTER_LINEAR)[0, 1:4] - frame[0, 1:4]
    by_affine = cv2.warpAffine(frame, np.float32([[1, 0, -flow], [0, 1, 0]]), (8, 1))[0, 1:4] - frame[0, 1:4]
    print(f"OpenCV {cv2.__version__}, flow {flow}: moved by {by_remap[0] / 100:.5f} pixels")
    moved = {"5.0.0": flow, "4.14.0": round(flow * 32) / 32}[cv2.__version__]
    assert cv2.__version__ == sys.argv[1]
    np.testing.assert_allclose(by_remap, 100 * moved, atol=1e-3)
    np.testing.assert_allclose(by_affine, 100 * moved, atol=1e-3)
PY
for version in 4.14.0.94 5.0.0.93; do
  venv/bin/pip install --quiet "opencv-python-headless==$version"
  venv/bin/python warp.py "${version%.*}"
done
