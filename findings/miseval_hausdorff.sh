#!/usr/bin/env bash
# miseval 1.3.0: its Hausdorff distance takes rows of the masks for points, and its average Hausdorff distance is the Hausdorff distance.
# Guess: "HD" is the largest distance, in pixels, from a pixel of one mask to the other mask, and "AHD" the mean of those distances.
# Seen: an object moved down by 20 rows has an HD of 0, as the same rows occur in both masks; moved by 20 columns, 3.9, the distance between
# a row of it and an empty one. AHD is 20 for both, and for a prediction with one wrong pixel among 300 it is the distance of that pixel: the maximum.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet miseval==1.3.0 hausdorff==0.2.6 scipy==1.17.1 numpy==2.4.6
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from miseval import evaluate
from scipy.spatial.distance import cdist

print("miseval", version("miseval"))
assert version("miseval") == "1.3.0"
annotated = np.zeros((60, 70), np.uint8)
annotated[10:30, 10:25] = 1
down, right = np.roll(annotated, 20, axis=0), np.roll(annotated, 20, axis=1)
stray = annotated.copy()
stray[50, 12] = 1
for name, predicted, distance, seen in (("20 rows down", down, 20, 0), ("20 columns right", right, 20, 15**0.5), ("a stray pixel", stray, 21, 1)):
    between = cdist(np.argwhere(annotated), np.argwhere(predicted))
    nearest = np.concatenate((between.min(0), between.min(1)))
    hausdorff, average = (evaluate(annotated, predicted, metric=metric, multi_class=False) for metric in ("HD", "AHD"))
    print(f"{name}: HD {hausdorff:.2f}, AHD {average:.2f}; by SciPy the largest distance is {nearest.max():.2f}, the mean {nearest.mean():.2f}")
    np.testing.assert_allclose((nearest.max(), hausdorff, average), (distance, seen, distance))
    assert nearest.mean() < 0.7 * distance
PY
