#!/usr/bin/env bash
# OpenCV 5.0.0: the values of a PFM are divided by the scale in its header; Pillow 13.0.0 leaves them.
# Guess: both ignore its size and take only the sign, which says the order of bytes.
# Seen: Pillow ignores it; OpenCV divides by it. Flow and disparity with the usual -1 agree; a file that says -0.00392
# (1/255) is 255 times as large in OpenCV.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet opencv-python-headless==5.0.0.93 numpy==2.3.4 pillow==13.0.0
venv/bin/python - <<'PY'
from pathlib import Path

import cv2
import numpy as np
import PIL
from PIL import Image

print("OpenCV", cv2.__version__, "Pillow", PIL.__version__)
assert (cv2.__version__, PIL.__version__) == ("5.0.0", "13.0.0")
values = np.arange(6, dtype="<f4").reshape(2, 3)
for scale in (1, 2, 1 / 255):
    Path("flow.pfm").write_bytes(b"Pf\n3 2\n%f\n" % -scale + values[::-1].tobytes())
    written = float(f"{scale:f}")
    by_opencv = cv2.imread("flow.pfm", cv2.IMREAD_UNCHANGED)
    by_pillow = np.array(Image.open("flow.pfm"))
    print(f"scale {-written}: largest of 5 is {by_opencv.max():g} by OpenCV, {by_pillow.max():g} by Pillow")
    np.testing.assert_array_equal(by_pillow, values)
    np.testing.assert_allclose(by_opencv, values / written, rtol=1e-6)
PY
