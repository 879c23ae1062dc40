#!/usr/bin/env bash
# OpenCV 5.0.0: a TIFF whose orientation swaps its sides cannot be read unless it is square.
# Guess: a frame for every flag, upright or (IMREAD_UNCHANGED, IMREAD_IGNORE_ORIENTATION) as stored.
# Seen: orientation 6: imread returns None for grey and for colour, also with the flags that ignore orientations, after
# an internal check that names neither the file's orientation nor a way out. A square frame is read and turned, even with
# IMREAD_UNCHANGED, which should leave it. JPEG with the same orientation in its EXIF is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet opencv-python-headless==5.0.0.93 numpy==2.3.4 pillow==13.0.0
venv/bin/python - <<'PY'
import cv2
import numpy as np
from PIL import Image

print("OpenCV", cv2.__version__)
assert cv2.__version__ == "5.0.0"
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
FLAGS = {
    "IMREAD_COLOR": cv2.IMREAD_COLOR,
    "IMREAD_GRAYSCALE": cv2.IMREAD_GRAYSCALE,
    "IMREAD_UNCHANGED": cv2.IMREAD_UNCHANGED,
    "IMREAD_GRAYSCALE | IMREAD_IGNORE_ORIENTATION": cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
}
wide = np.arange(24 * 40, dtype=np.uint8).reshape(24, 40)
Image.fromarray(wide).save("upright.tif", tiffinfo={274: 1})
Image.fromarray(wide).save("wide.tif", tiffinfo={274: 6})
exif = Image.Exif()
exif[274] = 6
Image.fromarray(wide).save("wide.jpg", exif=exif)
for name, flag in FLAGS.items():
    assert cv2.imread("upright.tif", flag).shape[:2] == (24, 40)
    jpeg = cv2.imread("wide.jpg", flag).shape[:2]
    print(f"{name}: TIFF {cv2.imread('wide.tif', flag)}, JPEG {jpeg}")
    assert cv2.imread("wide.tif", flag) is None
square = wide[:, :24]
Image.fromarray(square).save("square.tif", tiffinfo={274: 6})
for flag in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
    assert np.array_equal(cv2.imread("square.tif", flag), np.rot90(square, -1))
print("a square TIFF is turned, even with IMREAD_UNCHANGED")
PY
