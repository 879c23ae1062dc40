#!/usr/bin/env bash
# torchmetrics 1.9.0: GeneralizedDiceScore without the background gives a frame 0 in which nothing is to be found, and nothing was.
# Guess: 1, or that the frame doesn't count, as for DiceScore of the same package.
# Seen: of two frames that are both right, one of them empty, GeneralizedDiceScore(include_background=False) says 0.5, as much as if the
# empty one were wholly wrong; DiceScore says 1. With the background, GeneralizedDiceScore tells the two cases apart (1 and 0.5).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torchmetrics==1.9.0 torch==2.14.1 numpy==2.3.4
venv/bin/python - <<'PY'
import torch
import torchmetrics
from torchmetrics.segmentation import DiceScore, GeneralizedDiceScore

print("torchmetrics", torchmetrics.__version__)
assert torchmetrics.__version__ == "1.9.0"
annotated = torch.zeros(2, 8, 8, dtype=torch.long)
annotated[0, 2:5, 2:5] = 1
wrong = annotated.clone()
wrong[1] = 1


def score(kind, predicted, background):
    metric = kind(num_classes=2, include_background=background, input_format="index")
    metric.update(predicted, annotated)
    return round(float(metric.compute()), 4)


for background in (False, True):
    for kind in (DiceScore, GeneralizedDiceScore):
        right, one_wrong = (score(kind, predicted, background) for predicted in (annotated, wrong))
        print(f"{kind.__name__}, include_background={background}: {right} if all is right, {one_wrong} if the empty frame is all wrong")
assert score(DiceScore, annotated, False) == 1
assert score(GeneralizedDiceScore, annotated, False) == score(GeneralizedDiceScore, wrong, False) == 0.5
assert score(GeneralizedDiceScore, annotated, True) == 1
assert score(GeneralizedDiceScore, wrong, True) == 0.5
PY
