"""Detect objects and their masks: with torchvision's Mask R-CNN, or from a file."""

import typing
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic reads this one before Python 3.12

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
    height and width in pixels; `score` is the detector's own, in [0, 1].
    """

    box: tuple[int, int, int, int]  # left, top, right, bottom
    crop: Mask
    size: tuple[int, int]
    score: float = 1.0

    @classmethod
    def of(cls, mask: Mask, score: float = 1.0) -> Self | None:
        """Crop a mask of the whole frame, bool `[H, W]`, to its bounding box; None if the mask is empty."""
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        if not width:
            return None
        box = (left, top, left + width, top + height)
        return cls(box, _inside(mask, box).copy(), mask.shape, score)

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


class Detector(typing.Protocol):
    """Any object with this method."""

    def detect(self, video: str, frames: Iterable[Frame]) -> Detected:
        """Detect the objects in the video called `video`; `frames` as in `Postprocess.start`."""
        ...


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
        found = []
        for frame in frames:
            [result] = self.model([to_tensor(frame).to(self.device).float() / 255])
            masks = (result["masks"][:, 0] > self.mask_threshold).cpu().numpy()
            scored = zip(masks, result["scores"].tolist(), strict=True)
            detections = [Detection.of(mask, score) for mask, score in scored if score >= self.score]
            found.append([detection for detection in detections if detection])  # not those with empty masks
        return Detected(dict(enumerate(found)), len(found))


def _fetched(url: str) -> Path:
    """Return the file of weights at `url`, downloaded on first use to the cache that torchvision uses itself."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        # Not checked: the name holds only the first eight digits of the hash.
        return path if path.is_file() else fetch(url, path, attempts=1)
    except UserError as error:
        raise UserError(
            f"no weights {path.name} ({error}); copy them to {path} from another machine, or give "
            "postprocess.detector.weights=FILE, or your own detections: postprocess/detector=precomputed "
            "postprocess.detector.file=FILE"
        ) from error


class _Entry(TypedDict):
    image_id: str
    segmentation: Any
    score: float


class Precomputed:
    """Read the detections of any detector from a file in COCO's results format.

    Args:
        file: a JSON list of `{"image_id": "<sequence>/<frame>", "segmentation": {"size": [H, W], "counts": ...}, "score": ...}`,
            masks as run lengths (compressed or not); other keys are ignored. `<frame>` is a frame's stem, and the names of
            one video's frames sort in time order.
        score: detections with a lower score are dropped.

    Raises UserError for a file in another format, and for a mask of another size than the video's frames. Warns if the file has
    no detections in a video.
    """

    def __init__(self, file: str | Path, score: float = 0.5) -> None:
        self.file, self.score = Path(file), score
        try:
            entries = TypeAdapter(list[_Entry]).validate_json(self.file.read_bytes(), strict=True)
        except OSError as error:
            raise UserError(f"cannot read the detections {file}: {error}; give a JSON file") from error
        except ValidationError as found:
            first = found.errors(include_url=False)[0]
            where = ", ".join(map(str, first["loc"]))
            raise self._malformed(f"{f'entry {where}: ' if where else ''}{first['msg'].lower()}") from found
        self._videos: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for number, entry in enumerate(entries):
            video, slash, frame = entry["image_id"].rpartition("/")
            if not slash:
                raise self._malformed(f"entry {number}: the image_id is {entry['image_id']!r}")
            frames = self._videos[video]  # the video is known, even if all of its scores are low
            if entry["score"] >= score:
                frames[frame].append((number, entry))

    def detect(self, video: str, frames: Iterable[Frame]) -> Detected:
        if video not in self._videos:
            warnings.warn(f"{self.file} has no detections in the video {video!r}, which is not changed", stacklevel=2)
        known = self._videos.get(video, {})
        sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        found = {
            frame: [found for number, entry in known[frame] if (found := self._decoded(number, entry, {*sizes}))]
            for frame in sorted(known)
        }
        return Detected(found, len(sizes))

    def _decoded(self, number: int, entry: _Entry, sizes: set[tuple[int, int]]) -> Detection | None:
        try:
            return Detection.of(decode(entry["segmentation"], sizes), entry["score"])
        except ValueError as error:
            raise self._malformed(f"entry {number}: the mask is invalid ({error})") from error

    def _malformed(self, what: str) -> UserError:
        entry = "{'image_id': '<sequence>/<frame>', 'segmentation': {'size': [H, W], 'counts': ...}, 'score': ...}"
        return UserError(f"{self.file}: {what}; expected COCO results, a list of {entry}")
