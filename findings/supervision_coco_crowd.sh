#!/usr/bin/env bash
# supervision 0.31.2: in its COCO files an object with a hole is a crowd, and one without is smaller than its area says.
# Guess: iscrowd 0 for both; a mask with a hole as run lengths; a polygon that pycocotools turns back into the same mask.
# Seen: the mask with a hole is exact, but has iscrowd 1, so that COCO's evaluation counts no such object: a perfect
# prediction of it has AP -1 (nothing to find). The solid mask of 9x6 pixels has "area": 54, and a polygon through the
# centres of its outermost pixels, which pycocotools 2.0.11 fills as 8x5 = 40; supervision itself reads 54 back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet supervision==0.31.2 pycocotools==2.0.11 opencv-python-headless==5.0.0.93 numpy==2.3.4
venv/bin/python - <<'PY'
import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import supervision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("supervision", supervision.__version__)
assert supervision.__version__ == "0.31.2"
solid = np.zeros((20, 30), bool)
solid[4:10, 3:12] = True
ring = np.zeros((20, 30), bool)
ring[3:15, 14:26] = True
ring[6:10, 17:22] = False
cv2.imwrite("frame.png", np.zeros((20, 30, 3), np.uint8))
COUNTED = {"solid": (solid, 0, 40, 1.0), "ring": (ring, 1, int(ring.sum()), -1.0)}
for name, (mask, crowd, area_of_pycocotools, precision) in COUNTED.items():
    objects = supervision.Detections(
        xyxy=supervision.mask_to_xyxy(mask[None]).astype(float), mask=mask[None], class_id=np.array([0])
    )
    data = supervision.DetectionDataset(["object"], ["frame.png"], {"frame.png": objects})
    data.as_coco(images_directory_path=f"{name}_frames", annotations_path=f"{name}.json")
    back = supervision.DetectionDataset.from_coco(f"{name}_frames", f"{name}.json", force_masks=True)
    assert np.array_equal(next(iter(back.annotations.values())).mask[0], mask)
    (annotation,) = json.loads(Path(f"{name}.json").read_text())["annotations"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(f"{name}.json")
        decoded = truth.annToMask(truth.anns[annotation["id"]])
        prediction = {key: annotation[key] for key in ("image_id", "category_id")} | {"score": 1.0}
        prediction["segmentation"] = truth.annToRLE(annotation)
        evaluation = COCOeval(truth, truth.loadRes([prediction]), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    print(
        f"{name}: area {annotation['area']:.0f}, iscrowd {annotation['iscrowd']}, {decoded.sum()} pixels by pycocotools,"
        f" AP of the same mask as a prediction {evaluation.stats[0]:.1f}"
    )
    assert annotation["area"] == mask.sum()
    assert annotation["iscrowd"] == crowd
    assert decoded.sum() == area_of_pycocotools
    assert round(float(evaluation.stats[0]), 6) == precision
PY
