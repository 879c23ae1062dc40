#!/usr/bin/env bash
# datumaro 1.13.12: ids that are unique in each image alone are written so into COCO files, and pycocotools reads other masks from them.
# Guess: the file's annotations are numbered anew, or refused; a reader gives each image its own mask.
# Seen: an object in each of three images, every one with id 1, becomes three annotations with id 1. pycocotools 2.0.11 keeps one entry
# per id: asked for the first image's mask, it gives that of the third, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet datumaro==1.13.12 pycocotools==2.0.11
venv/bin/python - <<'PY' 2> /dev/null
import contextlib
import io
import json

import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from pycocotools.coco import COCO

items = []
for number in range(3):
    mask = np.zeros((20, 30), bool)
    mask[4:10, 3 + 8 * number : 9 + 8 * number] = True
    picture = Image.from_numpy(data=np.zeros((20, 30, 3), np.uint8))
    objects = [Mask(mask, label=0, id=1, group=1)]
    items.append(DatasetItem(id=f"frame{number}", subset="default", media=picture, annotations=objects))
Dataset.from_iterable(items, categories=["object"]).export("out", "coco_instances")
with open("out/annotations/instances_default.json") as file:
    ids = [annotation["id"] for annotation in json.load(file)["annotations"]]
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO("out/annotations/instances_default.json")
first = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
left = [int(np.nonzero(coco.annToMask(annotation))[1].min()) for annotation in first]
print(f"ids {ids}; of the first image, pycocotools gives masks that begin at x = {left}; it was drawn from x = 3")
assert ids == [1, 1, 1]
assert set(left) == {19}
PY
