#!/usr/bin/env bash
# torchmetrics 1.9.0: in a MetricCollection, metrics that differ in their threshold count by one threshold, if the first batch can't tell them apart.
# Guess: compute groups share the counts of metrics that count alike, so that those of another threshold never share.
# Seen: groups are metrics whose states are equal after the first batch, and stay. If no probability of the first batch lies between the
# thresholds 0.3 and 0.7, the later batches are counted once for both: precision is 0.60 twice, where it is 0.60 and 0.50 alone, IoU 0.50
# twice instead of 0.50 and 0.20. compute_groups=False is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torchmetrics==1.9.0 torch==2.14.1 numpy==2.3.4
venv/bin/python - <<'PY'
import torch
import torchmetrics
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryJaccardIndex, BinaryPrecision

print("torchmetrics", torchmetrics.__version__)
assert torchmetrics.__version__ == "1.9.0"
certain = torch.tensor([0.9, 0.95, 0.05, 0.02]), torch.tensor([1, 0, 0, 1])
doubtful = torch.tensor([0.5, 0.6, 0.4, 0.1]), torch.tensor([1, 1, 0, 0])


def scores(batches, **settings):
    metrics = {
        f"{kind.__name__} {threshold}".replace(".", ","): kind(threshold=threshold)
        for kind in (BinaryPrecision, BinaryJaccardIndex)
        for threshold in (0.3, 0.7)
    }
    collection = MetricCollection(metrics, **settings)
    for batch in batches:
        collection.update(*batch)
    return {name: round(float(score), 4) for name, score in collection.compute().items()}


alone = scores((certain, doubtful), compute_groups=False)
together = scores((certain, doubtful))
for name in alone:
    print(f"{name}: {alone[name]:.2f} alone, {together[name]:.2f} in a collection")
assert alone == scores((doubtful, certain))  # a first batch that tells them apart
assert alone["BinaryPrecision 0,3"] == 0.6 and alone["BinaryJaccardIndex 0,3"] == 0.5
assert alone["BinaryPrecision 0,7"] == 0.5 and alone["BinaryJaccardIndex 0,7"] == 0.2
assert together["BinaryPrecision 0,3"] == together["BinaryPrecision 0,7"] == 0.6
assert together["BinaryJaccardIndex 0,3"] == together["BinaryJaccardIndex 0,7"] == 0.5
PY
