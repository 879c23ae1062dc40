#!/usr/bin/env bash
# Pillow 13.0.0: an uncompressed grey TIFF with an orientation that swaps its sides is garbled when opened by its name.
# Guess: upright frames, whether opened by name or as a stream, since Pillow turns TIFF frames by their orientation tag.
# Seen: as a stream: upright. By name, 8 or 16 bits of grey, uncompressed, orientation 6 or 8: the pixels are laid in rows
# of the turned width before they are turned, so every row is sheared, and no error. LZW or float samples: upright.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0 numpy==2.3.4
venv/bin/python - <<'PY'
import io
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)
assert PIL.__version__ == "13.0.0"
QUARTER_TURNS = {1: 0, 3: 2, 6: -1, 8: 1}
for kind in ("uint8", "uint16", "float32"):
    stored = (np.arange(24 * 40) % 251).astype(kind).reshape(24, 40)
    for orientation, turns in QUARTER_TURNS.items():
        for compression in (None, "tiff_lzw"):
            Image.fromarray(stored).save("frame.tif", tiffinfo={274: orientation}, compression=compression)
            upright = np.rot90(stored, turns)
            by_name = np.array(Image.open("frame.tif"))
            as_stream = np.array(Image.open(io.BytesIO(Path("frame.tif").read_bytes())))
            assert np.array_equal(as_stream, upright)
            right = np.array_equal(by_name, upright)
            print(f"{kind} orientation {orientation} {compression}: by name {'upright' if right else 'garbled'}, as a stream upright")
            garbled = orientation in (6, 8) and compression is None and kind != "float32"
            assert right != garbled
            if garbled:
                assert np.array_equal(by_name, np.rot90(stored.reshape(40, 24), turns))
PY
