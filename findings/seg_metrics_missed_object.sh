#!/usr/bin/env bash
# seg-metrics 1.2.8: the boundary of an object that isn't found at all is as near as can be, as is that of an object that isn't there.
# Guess: infinite, nan or refused, as in MedPy 0.5.2, which raises.
# Seen: an empty prediction has hd, hd95, msd and mdsd of 0, like the annotation itself, and so has a false object in a frame without one;
# a prediction in the wrong place has 43. The warning that is logged speaks of precision and recall alone, so means over frames gain from misses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet seg-metrics==1.2.8 simpleitk==2.5.7 medpy==0.5.2
venv/bin/python - <<'PY'
from importlib.metadata import version

import numpy as np
from medpy.metric.binary import hd
from seg_metrics.seg_metrics import write_metrics

print("seg-metrics", version("seg-metrics"))
assert version("seg-metrics") == "1.2.8"
nothing, object_, elsewhere = np.zeros((3, 40, 50), np.uint8)
object_[10:20, 10:30] = 1
elsewhere[35:38, 45:48] = 1
pairs = {"perfect": (object_, object_), "missed": (object_, nothing), "false": (nothing, elsewhere), "elsewhere": (object_, elsewhere)}
for name, (annotated, predicted) in pairs.items():
    (scores,) = write_metrics(labels=[1], gdth_img=annotated, pred_img=predicted)
    distances = [scores[metric][0] for metric in ("hd", "hd95", "msd", "mdsd")]
    try:
        expected = f"{hd(predicted, annotated):.1f}"
    except RuntimeError:
        expected = "refused"
    print(f"{name}: dice {scores['dice'][0]:.1f}, distances {np.round(distances, 1)}; MedPy's hd {expected}")
    assert (expected == "refused") == (name in ("missed", "false"))
    assert (max(distances) == 0) == (name != "elsewhere")
    assert (scores["dice"][0] == 1) == (name == "perfect")
PY
