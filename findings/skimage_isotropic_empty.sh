#!/usr/bin/env bash
# scikit-image 0.26.0: isotropic_dilation finds an object in a mask without one, and the others of its kind change empty or full masks, too.
# Guess: as its dilation, erosion, opening and closing with a disk: an empty mask stays empty, a full one full.
# Seen: a quarter of a disk around the upper left corner: isotropic_dilation and isotropic_opening add it to an empty mask, isotropic_erosion
# and isotropic_closing cut it out of a full one; 79 pixels for a radius of 10, whatever the frame's size. A frame in which nothing was
# found then has an object.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet scikit-image==0.26.0 scipy==1.17.1 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import skimage
from skimage import morphology

print("scikit-image", skimage.__version__)
assert skimage.__version__ == "0.26.0"
empty = np.zeros((480, 854), bool)
for name in ("dilation", "erosion", "opening", "closing"):
    of_disk = getattr(morphology, name)
    isotropic = getattr(morphology, f"isotropic_{name}")
    changed = []
    for mask in (empty, ~empty):
        np.testing.assert_array_equal(of_disk(mask, morphology.disk(10)), mask)
        found = isotropic(mask, 10) != mask
        assert not found[11:].any() and not found[:, 11:].any()
        changed.append(int(found.sum()))
    print(f"isotropic_{name}: {changed[0]} pixels of an empty mask and {changed[1]} of a full one change")
    assert changed == ([79, 0] if name in ("dilation", "opening") else [0, 79])
PY
