#!/usr/bin/env bash
# vos-benchmark 0.1.0: a false alarm before an object appears raises J&F, and a false object that isn't annotated costs nothing.
# Guess: both lower it; its description says that predicted objects which are not in the ground truth harm the score.
# Seen: an object's frames count from the first on in which its label is annotated or predicted, and those without it in either count
# as perfect. Half of an object is found in frames 10 to 19: J is 50, and 70 with a false dot in frame 0. A second label, predicted
# in every frame and annotated in none, leaves it at 50. TrackEval 1.3.0 counts all frames: 75, with the dot 70.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet vos-benchmark==0.1.0 trackeval==1.3.0 pycocotools==2.0.11 pillow==13.0.0 opencv-python-headless==5.0.0.93 numpy==2.3.4
cat > score.py <<'PY'
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
from trackeval.metrics import JAndF
from vos_benchmark.benchmark import benchmark


def write(folder, masks):
    (folder / "video").mkdir(parents=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / "video" / f"{index:05}.png")


def by_trackeval(annotated, predicted):
    """Return J of label 1 in percent."""
    ids = [np.array([0])] * len(predicted)
    truth, found = ([[run_lengths.encode(np.asfortranarray(mask == 1))] for mask in part] for part in (annotated, predicted))
    data = {"num_timesteps": len(predicted), "num_gt_ids": 1, "num_tracker_ids": 1, "gt_ids": ids, "tracker_ids": ids}
    return 100 * JAndF().eval_sequence(data | {"gt_dets": truth, "tracker_dets": found})["J-Mean"]


if __name__ == "__main__":
    annotated = np.zeros((20, 40, 60), np.uint8)
    annotated[10:, 10:30, 10:50] = 1
    half = annotated.copy()
    half[:, :, 30:] = 0
    dot = half.copy()
    dot[0, 20:23, 20:23] = 1
    second = half.copy()
    second[:, 33:38, 10:50] = 2
    write(Path("annotated"), annotated)
    for name, masks, guess, seen in (("half", half, 75, 50), ("dot", dot, 70, 70), ("second", second, 75, 50)):
        write(Path(name), masks)
        _, j, _, _ = benchmark(["annotated"], [name], num_processes=1, verbose=False, skip_first_and_last=False)
        print(f"{name}: J {j[0]:.4g} by vos-benchmark, {by_trackeval(annotated, masks):.4g} by TrackEval")
        np.testing.assert_allclose((j[0], by_trackeval(annotated, masks)), (seen, guess))
PY
venv/bin/python score.py
