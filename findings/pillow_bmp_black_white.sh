#!/usr/bin/env bash
# Pillow 13.0.0: a mask saved as an 8-bit BMP with the palette black, white comes back as another mask.
# Guess: 0 and 1 (mode P) or 0 and 255 (mode L), where they were.
# Seen: mode 1, and the first bytes of each row, which are indices, are read as eight pixels each: an object is lost, or
# its left columns become dots. Any third colour, or a white that isn't quite white, mends it; OpenCV 5.0.0 reads the same file right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0 numpy==2.3.4 opencv-python-headless==5.0.0.93
venv/bin/python - <<'PY'
import cv2
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__)
assert (PIL.__version__, cv2.__version__) == ("13.0.0", "5.0.0")
mask = np.zeros((16, 24), np.uint8)
mask[4:10, 8:20] = 1
mask[12:14, :2] = 1
BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (128, 0, 0)
for palette in ((BLACK, RED), (BLACK, WHITE, RED), (BLACK, (254, 254, 254)), (BLACK, WHITE)):
    image = Image.fromarray(mask)
    image.putpalette([value for colour in palette for value in colour])
    image.save("mask.bmp")
    assert np.array_equal(cv2.imread("mask.bmp", cv2.IMREAD_GRAYSCALE) > 0, mask > 0)
    read = Image.open("mask.bmp")
    foreground = np.array(read) > 0
    print(f"palette {palette}: mode {read.mode}, {foreground.sum()} of {mask.sum()} pixels of foreground")
    if palette == (BLACK, WHITE):
        assert read.mode == "1"
        assert np.array_equal(foreground, np.unpackbits(mask[:, :3], axis=1))
    else:
        assert np.array_equal(foreground, mask > 0)
PY
