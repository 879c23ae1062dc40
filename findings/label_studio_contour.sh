#!/usr/bin/env bash
# label-studio-sdk 2.1.2: its brush mask of an OpenCV contour is another mask unless the frame is square.
# Guess: contour2rle(contours, index, width, height), read back by the SDK's own decode_rle as Label Studio's format lays it out, row by
# row, is the mask whose contour it was; so it is for mask2rle.
# Seen: in a frame of 64x64 it is. In 64x48 and 48x64 width and height are swapped where the contour is filled: rows of another length are
# read as the frame's, so that the object of 560 pixels becomes slanted stripes of as many, of which a third lie on it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet label-studio-sdk==2.1.2 opencv-python-headless==4.12.0.88 numpy==2.2.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import cv2
import numpy as np
from label_studio_sdk.converter.brush import contour2rle, decode_rle, mask2rle

print("label-studio-sdk", version("label-studio-sdk"))
assert version("label-studio-sdk") == "2.1.2"
for width, height in ((64, 64), (64, 48), (48, 64)):
    mask = np.zeros((height, width), np.uint8)
    mask[10:30, 12:40] = 1
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole, outlined = (
        decode_rle(code).reshape(height, width, 4)[..., 3] > 0 for code in (mask2rle(mask), contour2rle(contours, 0, width, height))
    )
    overlap = (outlined & whole).sum() / (outlined | whole).sum()
    print(f"{width}x{height}: {mask.sum()} pixels, {outlined.sum()} by contour2rle, IoU {overlap:.2f}")
    assert (whole == mask).all() and outlined.sum() == mask.sum()
    assert overlap == 1 if width == height else overlap < 0.3
PY
