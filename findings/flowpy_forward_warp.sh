#!/usr/bin/env bash
# flowpy 0.6.0: forward_warp by a flow of zeros is not the picture as it was, and mixes labels.
# Guess: where nothing moves, each pixel keeps its value: backward_warp of the same package does so.
# Seen: it averages the 4 pixels (k=4) that arrive nearest to a place, weighted by exp(-distance), with 0.48 of the weight on the pixel that
# arrives at it, and truncates the mean. A mask of 0 and 255 gets 44 and 210 at its outline, and 254 inside; of labels 1 and 3, the latter
# becomes 2. k=1 keeps both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet flowpy==0.6.0 scipy==1.17.1 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import flowpy
import numpy as np

print("flowpy", version("flowpy"))
assert version("flowpy") == "0.6.0"
still = np.zeros((40, 40, 2), np.float32)
mask = np.zeros((40, 40), np.uint8)
mask[10:30, 10:30] = 255
labels = np.repeat(np.array([[1, 3]], np.uint8), 20, axis=1).repeat(40, axis=0)
for name, picture in (("mask", mask), ("labels", labels)):
    np.testing.assert_array_equal(flowpy.backward_warp(picture, still), picture)
    np.testing.assert_array_equal(flowpy.forward_warp(picture, still, k=1), picture)
    warped = flowpy.forward_warp(picture, still)
    print(f"{name} of {np.unique(picture).tolist()}: {np.unique(warped).tolist()} after no motion")
assert np.unique(flowpy.forward_warp(mask, still)).tolist() == [0, 44, 210, 254]
assert np.unique(flowpy.forward_warp(labels, still)).tolist() == [1, 2]
PY
