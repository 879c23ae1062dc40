"""Detect objects and their masks: with torchvision's Mask R-CNN, or from a file."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch

from adnet.data.coco_file import Labelled, read_results
from adnet.data.coco_masks import decode
from adnet.data.masks import Mask
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.shared.fetch import fetch
from adnet.shared.machine import usable_device
from adnet.weights.read import load_into, read_weights


@dataclass(frozen=True)
class Detection:
    """The mask of an object in a frame, stored cropped to its box because a video has thousands of them.

    `crop` is bool `[bottom - top, right - left]` of the `box`, pixels `left <= x < right` and `top <= y < bottom`; `size` is the frame's
    height and width in pixels.
    """

    box: tuple[int, int, int, int]  # left, top, right, bottom
    crop: Mask
    size: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask) -> Self | None:
        """Crop a mask of the whole frame, bool `[H, W]`, to its bounding box; None if the mask is empty."""
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        if not width:
            return None
        box = (left, top, left + width, top + height)
        return cls(box, _inside(mask, box).copy(), mask.shape)

    @property
    def area(self) -> int:
        """The area of the mask in pixels."""
        return int(np.count_nonzero(self.crop))

    def paint(self, canvas: Mask) -> None:
        """Set the pixels of the mask in `canvas`, bool `[H, W]`, in place."""
        inside = _inside(canvas, self.box)
        inside |= self.crop

    def shared(self, other: Self) -> int:
        """Count the pixels that belong to this mask and to `other`, of the same frame."""
        canvas = np.zeros(self.size, np.bool_)
        other.paint(canvas)
        return int(np.count_nonzero(_inside(canvas, self.box) & self.crop))


def _inside(mask: Mask, box: tuple[int, int, int, int]) -> Mask:
    left, top, right, bottom = box
    return mask[top:bottom, left:right]


@dataclass(frozen=True)
class Detected:
    """A video's detections in time order, by the frame's name or, if the detector does not know it, its position from 0.

    Frames without detections may be missing; `frames` is the number of all frames of the video.
    """

    detections: Mapping[str, list[Detection]] | Mapping[int, list[Detection]]
    frames: int


class MaskRCNN:
    """torchvision's Mask R-CNN, `maskrcnn_resnet50_fpn_v2`, trained on COCO.

    Args:
        weights: a file with its state dict; None: torchvision's `COCO_V1` weights, downloaded on first use.
        score: detections with a lower score are dropped.
        mask_threshold: pixels with a higher probability belong to the mask.
        device: None: CUDA if there is a GPU.

    Raises UserError if the weights cannot be found or do not fit, or the device cannot be used.
    """

    def __init__(
        self, weights: str | None = None, score: float = 0.5, mask_threshold: float = 0.5, device: str | None = None
    ) -> None:
        from torchvision.models import detection

        self.score, self.mask_threshold = score, mask_threshold
        self.device = usable_device(device)
        file = weights or _fetched(detection.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.url)
        state = read_weights(file)
        model = detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, box_score_thresh=score)
        load_into(model, state, str(file), "torchvision's maskrcnn_resnet50_fpn_v2")
        self.model = model.eval().to(self.device)

    @torch.inference_mode()
    def detect(self, video: str, frames: Iterable[Frame]) -> Detected:  # noqa: ARG002
        """Detect the objects in the video called `video`; `frames` as in `Postprocess.start`."""
        found = []
        for frame in frames:
            [result] = self.model([to_tensor(frame).to(self.device).float() / 255])
            masks = (result["masks"][:, 0] > self.mask_threshold).cpu().numpy()
            scored = zip(masks, result["scores"].tolist(), strict=True)
            found.append([*filter(None, (Detection.of(mask) for mask, score in scored if score >= self.score))])
        return Detected(dict(enumerate(found)), len(found))


def _fetched(url: str) -> Path:
    """Return the file of weights at `url`, downloaded on first use to the cache that torchvision uses itself."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        # Not checked: the name holds only the first eight digits of the hash.
        return path if path.is_file() else fetch(url, path, attempts=1)
    except UserError as error:
        given = "postprocess.detector.weights=FILE"
        own = "your own detections: postprocess/detector=precomputed postprocess.detector.file=FILE"
        raise UserError(f"no weights {path.name} ({error}); copy them to {path}, or give {given}, or {own}") from error


class Precomputed:
    """Read the detections of any detector from a file in COCO's results format.

    Args:
        file: a JSON list of `{"image_id": "<sequence>/<frame>", "segmentation": {"size": [H, W], "counts": ...}, "score": ...}`,
            masks as run lengths (compressed or not); other keys are ignored, and without `score`, it is 1. `<frame>` is a
            frame's stem, and the names of one video's frames sort in time order.
        score: detections with a lower score are dropped.

    Raises UserError for a file in another format, and for a mask of another size than the video's frames. Warns if the file has
    no detections in a video.
    """

    def __init__(self, file: str | Path, score: float = 0.5) -> None:
        self.file = Path(file)
        self._videos: dict[str, dict[str, Labelled]] = defaultdict(dict)
        for labelled in read_results(self.file, least=score):
            video, slash, frame = labelled.name.rpartition("/")
            if not slash:
                raise UserError(f"{file}: the image_id {labelled.name!r} is not '<sequence>/<frame>'; write it so")
            self._videos[video][frame] = labelled

    def detect(self, video: str, frames: Iterable[Frame]) -> Detected:
        if video not in self._videos:
            warnings.warn(f"{self.file} has no detections in the video {video!r}, which is not changed", stacklevel=2)
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        known = sorted(self._videos.get(video, {}).items())
        read = partial(decode, sizes={*sizes})
        # Those with empty masks are left out.
        found = {frame: [*filter(None, map(Detection.of, labelled.masks(read)))] for frame, labelled in known}
        return Detected(found, len(sizes))


Detector = MaskRCNN | Precomputed
