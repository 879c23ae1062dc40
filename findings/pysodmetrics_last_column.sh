#!/usr/bin/env bash
# PySODMetrics 1.6.2: the S-measure of an object that has all but left the frame at the right or the bottom is nan, and so is the mean.
# Guess: 1 for the annotation itself as prediction, wherever the object is; the same for a frame and its mirror image.
# Seen: an object in the first column or row alone: 1. In the last column or row: nan, as its centroid leaves no frame beyond it and an
# empty quarter is averaged. One such frame makes the mean over all frames nan; the only sign is NumPy's "Mean of empty slice".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pysodmetrics==1.6.2 numpy==2.3.4
venv/bin/python - <<'PY' 2> /dev/null
import numpy as np
from py_sod_metrics import MAE, Emeasure, Smeasure, WeightedFmeasure


def score(measure, key, *pairs):
    for prediction, annotation in pairs:
        measure.step(pred=np.ascontiguousarray(prediction), gt=np.ascontiguousarray(annotation))
    return measure.get_results()[key]


last = np.zeros((40, 60), np.uint8)
last[10:30, -1] = 255
grey = last // 2 + np.random.default_rng(0).integers(0, 100, last.shape, np.uint8)
centre = np.roll(last, 30, axis=1)
FRAMES = {"last column": last, "first column": last[:, ::-1], "last row": last.T, "first row": last[:, ::-1].T, "centre": centre}
for name, mask in FRAMES.items():
    s = score(Smeasure(), "sm", (mask, mask))
    print(f"{name}: S {s:.3f}")
    assert np.isnan(s) if name.startswith("last") else s > 0.999
    assert score(MAE(), "mae", (mask, mask)) == 0
    assert score(WeightedFmeasure(), "wfm", (mask, mask)) > 0.999
    assert score(Emeasure(), "em", (mask, mask))["adp"] > 0.999
one, mirrored = (score(Smeasure(), "sm", (picture, mask)) for picture, mask in ((grey, last), (grey[:, ::-1], last[:, ::-1])))
print(f"grey prediction: S {one:.3f}, mirrored {mirrored:.3f}")
assert np.isnan(one)
assert mirrored > 0.4
mean = score(Smeasure(), "sm", *[(centre, centre)] * 99, (last, last))
print(f"99 perfect frames in the centre and one at the edge: S {mean:.3f}")
assert np.isnan(mean)
PY
