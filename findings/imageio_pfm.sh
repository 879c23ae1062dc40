#!/usr/bin/env bash
# imageio 2.38.1: whether a flow in a PFM is read as floats depends on what else is installed.
# Guess: float32 [height, width], whatever stands beside imageio, or an error.
# Seen: with Pillow 13.0.0 alone: float32, as written. After `pip install av==18.1.0`, which imageio then prefers for this
# suffix: the same call gives uint8 [1, height, width, 3], negative flow is 0, all from 1 up is 255, and no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet imageio==2.38.1 pillow==13.0.0 numpy==2.3.4
cat > read.py <<'PY'
import sys
from pathlib import Path

import imageio
import imageio.v3
import numpy as np

flow = np.array([[-3.5, 0.25], [2.75, 300]], "<f4")
Path("flow.pfm").write_bytes(b"Pf\n2 2\n-1\n" + flow[::-1].tobytes())
read = imageio.v3.imread("flow.pfm")
print(f"imageio {imageio.__version__} with {sys.argv[1]}: {read.dtype} {read.shape}: {read.tolist()}")
assert imageio.__version__ == "2.38.1"
if sys.argv[1] == "PyAV":
    assert (read.dtype, read.shape) == (np.uint8, (1, 2, 2, 3))
    assert read[0, 0, 0].tolist() == [0, 0, 0]
    assert (read[0, 1] == 255).all()
    np.testing.assert_array_equal(imageio.v3.imread("flow.pfm", plugin="pillow"), flow)
else:
    np.testing.assert_array_equal(read, flow)
PY
venv/bin/python read.py Pillow
venv/bin/pip install --quiet av==18.1.0
venv/bin/python read.py PyAV
