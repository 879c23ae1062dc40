#!/usr/bin/env bash
# TrackEval 1.3.0: the decay of J and F is nan or another number for videos of 256 frames or more.
# Guess: the mean of the first quarter less that of the last, however long the video is.
# Seen: the quarters' bounds are kept in 8 bits. A tracker that loses half of its object for the last quarter has a J-Decay of 0.49
# in 200 frames, nan in 256 and in 300, and 0 in 400, whose "last quarter" is frames 43 to 143; NumPy's warnings say nothing of the cause.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet trackeval==1.3.0 scikit-image==0.25.2 pycocotools==2.0.11 numpy==2.3.4
venv/bin/python - <<'PY' 2> /dev/null
import numpy as np
from pycocotools import mask as run_lengths
from trackeval.metrics import JAndF

whole = np.zeros((40, 60), np.uint8, order="F")
whole[10:30, 10:50] = 1
half = whole.copy(order="F")
half[:, 30:] = 0
whole, half = run_lengths.encode(whole), run_lengths.encode(half)
for frames, decay in ((100, 0.48), (200, 0.49), (255, 0.49), (256, np.nan), (300, np.nan), (400, 0)):
    ids = [np.array([0])] * frames
    found = [[whole if index < 0.75 * frames else half] for index in range(frames)]
    data = {"num_timesteps": frames, "num_gt_ids": 1, "num_tracker_ids": 1, "gt_ids": ids, "tracker_ids": ids}
    scores = JAndF().eval_sequence(data | {"gt_dets": [[whole] for _ in range(frames)], "tracker_dets": found})
    print(f"{frames} frames: J-Mean {scores['J-Mean']:.3f}, J-Decay {scores['J-Decay']:.3f}, F-Decay {scores['F-Decay']:.3f}")
    assert abs(scores["J-Mean"] - 0.875) < 0.002
    np.testing.assert_allclose(scores["J-Decay"], decay, atol=0.005)
    assert np.isnan(scores["F-Decay"]) == np.isnan(decay)
PY
