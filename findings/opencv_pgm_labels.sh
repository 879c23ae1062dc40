#!/usr/bin/env bash
# OpenCV 5.0.0: the labels of a PGM or PPM annotation depend on whether its numbers are stored as bytes or as text.
# Guess: the largest value in the header (3: background and three objects) is ignored, and labels are read as they are;
# Pillow stretches them to 0..255.
# Seen: stored as bytes (P5, P6), labels are read as they are; the same labels as text (P2, P3) are stretched to 0..255.
# Pillow 13.0.0 stretches both, so the two libraries agree on one kind of the file and not on the other.
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
labels = [0, 1, 2, 3]
stretched = [0, 85, 170, 255]
files = {
    "bytes.pgm": (b"P5\n4 1\n3\n" + bytes(labels), labels),
    "text.pgm": (b"P2\n4 1\n3\n0 1 2 3\n", stretched),
    "bytes.ppm": (b"P6\n4 1\n3\n" + bytes(np.repeat(labels, 3).tolist()), labels),
    "text.ppm": (b"P3\n4 1\n3\n0 0 0 1 1 1 2 2 2 3 3 3\n", stretched),
}
for name, (content, expected) in files.items():
    Path(name).write_bytes(content)
    by_opencv = cv2.imread(name, cv2.IMREAD_GRAYSCALE)[0].tolist()
    by_pillow = np.array(Image.open(name).convert("L"))[0].tolist()
    print(f"{name}: OpenCV {by_opencv}, Pillow {by_pillow}")
    assert by_opencv == expected
    assert by_pillow == stretched
PY
