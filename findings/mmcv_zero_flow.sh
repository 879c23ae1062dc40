#!/usr/bin/env bash
# mmcv-lite 2.2.0: flow_warp by a flow of zero is not the same frame.
# Guess: the frame itself, in both ways of interpolating, since each pixel stays where it is.
# Seen: the last row and the last column are the filling value (0), although what they ask for lies within the frame; in
# between it is the frame. cv2.remap with the same coordinates gives the whole frame.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet mmcv-lite==2.2.0 numpy==2.3.4 opencv-python-headless==5.0.0.93
venv/bin/python - <<'PY'
import warnings

import cv2
import mmcv
import numpy as np

print("mmcv-lite", mmcv.__version__)
assert mmcv.__version__ == "2.2.0"
warnings.simplefilter("ignore", UserWarning)  # "just for prototyping"
frame = np.random.default_rng(0).uniform(1, 2, (6, 8, 3)).astype(np.float32)
flow = np.zeros((6, 8, 2), np.float32)
y, x = np.indices((6, 8), np.float32)
np.testing.assert_array_equal(cv2.remap(frame, x, y, cv2.INTER_LINEAR), frame)
for mode in ("nearest", "bilinear"):
    warped = mmcv.flow_warp(frame, flow, interpolate_mode=mode)
    print(f"{mode}: {(warped[..., 0] == 0).sum()} of 48 pixels are 0, namely the last row and column")
    np.testing.assert_allclose(warped[:-1, :-1], frame[:-1, :-1], rtol=1e-5)
    assert (warped[-1] == 0).all()
    assert (warped[:, -1] == 0).all()
PY
