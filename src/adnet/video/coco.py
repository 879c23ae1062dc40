"""Write the masks of a video as one COCO file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adnet.data.sequence import read_mask
from adnet.shared.extras import need_extra
from adnet.shared.files import write_json


def write_coco(masks: Sequence[Path], target: Path) -> None:
    """Write `masks` (images of any mode; every value except 0 is foreground) as COCO annotations in run-length code (RLE).

    `pycocotools.coco.COCO(target)` can read the file. It has an image for each mask, numbered from 1, with the mask's
    `file_name`, and an annotation for each mask that is not empty. Raises UserError without the extra `video`.
    """
    need_extra("video", "pycocotools", "rle=true")
    from pycocotools import mask as rle

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, path in enumerate(masks, start=1):
        mask = read_mask(path)
        images.append({"id": number, "file_name": path.name, "height": mask.shape[0], "width": mask.shape[1]})
        if mask.any():
            code = rle.encode(np.asfortranarray(mask, np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(rle.area(code)),
                    "bbox": rle.toBbox(code).tolist(),
                    "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
                }
            )
    categories = [{"id": 1, "name": "foreground"}]
    write_json(target, {"images": images, "categories": categories, "annotations": annotations})
