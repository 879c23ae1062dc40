"""Segmentation of a video frame by frame, with the anchor embedded once (Section 4, Inference)."""

from __future__ import annotations

import logging
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adnet.data.flow import NO_MOTION, OpticalFlow, Vectors, mirrored_flow, to_flow_input
from adnet.data.pairs import to_tensor
from adnet.data.sequence import Frame
from adnet.errors import UserError
from adnet.inference.gate import gate
from adnet.inference.postprocess import Probability
from adnet.models import Encoded, upsample

_Timed = tuple[Frame, Vectors | None]
"""A frame with its optical flow."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""In which convolutions and attention may be computed; weights stay in float32, and so does all that comes after the logits."""

_CHOICES = {"average": ("probability", "logits"), "resize": ("aligned", "opencv"), "anchors": ("first", "previous")}


@dataclass(frozen=True)
class Protocol:
    """How a frame is tested.

    Args:
        name: names the evaluation's folder.
        scales: of the test size.
        mirror: test mirrored, too.
        threshold: where the resulting probability is cut.
        average: over scales and mirror, of the `probability` (the paper) or of the `logits` (the published code).
        gate: see `adnet.inference.gate`; for averaged logits only.
        resize: of frames to the test size: `aligned` (bilinear with aligned corners, as inside the network) or `opencv`
            (bilinear on 8-bit values with half-pixel centres, the published code).
        anchors: `first` (the paper), `previous` (the frame before), or both for a variant that takes several.

    Raises UserError for an unknown choice, scales that are none or not above 0, and a gate on probabilities.
    """

    name: str
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    threshold: float = 0.5
    average: str = "probability"
    gate: bool = False
    resize: str = "aligned"
    anchors: tuple[str, ...] = ("first",)

    def __post_init__(self) -> None:
        given = {"average": [self.average], "resize": [self.resize], "anchors": list(self.anchors)}
        for field, values in given.items():
            if not values or not set(values) <= set(_CHOICES[field]):
                raise UserError(
                    f"protocol.{field} is {getattr(self, field)!r}; choose from {', '.join(_CHOICES[field])}"
                )
        if not self.scales or min(self.scales) <= 0:
            raise UserError(
                f"protocol.scales is {list(self.scales)}; give one or more, each above 0, such as [0.75,1.0,1.5]"
            )
        if self.gate and self.average != "logits":
            raise UserError("protocol.gate works on averaged logits: set protocol.average=logits")

    @property
    def stateful(self) -> bool:
        """Whether a result depends on the frames before, so that a video must be gone through from its start."""
        return self.gate or "previous" in self.anchors


class SegmentationModel(typing.Protocol):
    """What `VideoSegmenter` asks of a network: an `ADNet`, or another backend of one (see `adnet.models.ADNet`)."""

    @property
    def variant(self) -> str: ...

    @property
    def needs_anchor(self) -> bool: ...

    @property
    def needs_flow(self) -> bool: ...

    @property
    def takes_several_anchors(self) -> bool: ...

    @property
    def device(self) -> torch.device: ...

    def embed(self, frames: Tensor) -> Tensor: ...

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded: ...

    def segment(self, anchor_embedding: Tensor, frame: Encoded) -> Tensor: ...


class VideoSegmenter:
    """`start(anchor)` once a video, then `step(frame)` for each frame of it; or `segment(frames)`, which does both.

    Frames may be of any size, also of several in one video: each is resized to the test size, and its probability back to
    its own. Memory doesn't grow with the video.

    A network with a motion branch is given each frame's optical flow to the frame before, which is kept for that. The first
    frame has none; `segment` looks one frame ahead and gives it that to the next one, its sign turned, as in training.

    Args:
        model: on its device; set to eval mode here.
        protocol: see there.
        size: height and width in pixels that frames are resized to at scale 1. It gives the anchor's grid and every frame's,
            so it is one for a whole video; see `fitted_size` for videos of another aspect.
        batch_size: frames that `steps` and `segment` take at a time; None: 1 on a CPU (where more gains little), else 4. It is
            halved where the device runs out of memory.
        flow: computes the optical flow from a frame to its neighbour for a network that needs it; None: as `OpticalFlow()` does.
        precision: one of `PRECISIONS`, by autocast; an exported network (OpenVINO, ONNX) has its own.

    A network that was compiled (`fixed_batch`) is given whole batches: what is missing of one is filled up, and cut off again.

    Raises UserError for several anchors with a variant that takes one, a scale at which no frame is left, a batch size below 1,
    an unknown precision and one for an exported network.
    """

    def __init__(
        self,
        model: SegmentationModel,
        protocol: Protocol,
        size: tuple[int, int],
        batch_size: int | None = None,
        flow: Callable[[Frame, Frame], Vectors] | None = None,
        precision: str = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision={precision}: choose from {', '.join(PRECISIONS)}")
        if precision != "fp32" and not isinstance(model, nn.Module):
            raise UserError(f"precision={precision} is for backend=torch and compile: an exported network has its own")
        if len(protocol.anchors) > 1 and not model.takes_several_anchors:
            raise UserError(
                f"the variant {model.variant!r} takes one anchor, not {len(protocol.anchors)}: set protocol.anchors=[first]"
            )
        if isinstance(model, nn.Module):
            model.eval().to(memory_format=torch.channels_last)
        self.model = model
        self.protocol = protocol
        self.precision = precision
        self.size = size
        self.sizes = [scaled_size(size, scale) for scale in protocol.scales]
        if min(map(min, self.sizes)) < 9:
            raise UserError(
                f"protocol.scales: {min(protocol.scales)} of the test size {size[0]}x{size[1]} (height x width) leaves fewer than 9 "
                "pixels: give a larger scale"
            )
        self.batch_size = (1 if model.device.type == "cpu" else 4) if batch_size is None else batch_size
        if self.batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more")
        self.flow: Callable[[Frame, Frame], Vectors] | None = (flow or OpticalFlow()) if model.needs_flow else None
        self._frame_before: Frame | None = None
        self._first: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._previous_mask: npt.NDArray[np.bool_] | None = None

    @torch.inference_mode()
    def start(self, anchor: Frame) -> None:
        """Embed the anchor, RGB uint8 `[H, W, 3]`, once for each scale and mirror.

        Raises UserError where the device runs out of memory.
        """
        self._first = []
        if self.model.needs_anchor:
            try:
                with self._autocast():
                    self._first = [self.model.embed(self._filled(view))[:1] for view in self._views([anchor])]
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                raise self._too_large(error) from error
        self._previous, self._previous_mask, self._frame_before = self._first, None, None

    def step(self, frame: Frame) -> Probability:
        """RGB uint8 `[H, W, 3]` -> probability of the foreground, float32 `[H, W]`: the mean over scales and mirror.

        Raises UserError before `start`, and where the device runs out of memory.
        """
        return next(self.steps([frame], live=True))

    def steps(
        self, frames: Iterable[Frame], *, live: bool = False, flows: Iterable[Vectors] | None = None
    ) -> Iterator[Probability]:
        """Give `step` for each of `frames`, `batch_size` at a time.

        Unless they are `live`, the frame after a video's first one is asked for before the first is segmented, if the network
        takes optical flow. `flows` are the normalised ones of the frames, where they are known; then none is computed.
        """
        if self.model.needs_anchor and not self._first:
            raise UserError("no anchor yet: call start(anchor_frame) before step(frame)")
        timed = self._with_flow(frames, live)
        if flows is not None and self.flow is not None:
            timed = zip(frames, flows, strict=True)
        while batch := list(islice(timed, self.batch_size)):
            yield from self._within_memory(batch)

    def segment(self, frames: Iterable[Frame]) -> Iterator[Probability]:
        """The probability of each of a video's frames, as they are asked for; the first frame is the anchor."""
        frames = iter(frames)
        for anchor in islice(frames, 1):
            self.start(anchor)
            yield from self.steps(chain([anchor], frames))

    def skip(self, frame: Frame) -> None:
        """Pass over a frame, RGB uint8 `[H, W, 3]`, that needs no mask: the next frame's optical flow is to this one."""
        self._frame_before = frame

    def _with_flow(self, frames: Iterable[Frame], live: bool) -> Iterator[_Timed]:
        """Yield each frame with its optical flow; None where the network takes none, or no frame of its size is beside it."""
        frames = iter(frames)
        if self.flow is None:
            yield from ((frame, None) for frame in frames)
            return
        if self._frame_before is None and not live:
            first = list(islice(frames, 2))
            if len(first) == 2:
                backwards = self._flow_to(*first)
                self._frame_before = first.pop(0)
                yield self._frame_before, None if backwards is None else -backwards
            frames = chain(first, frames)
        for frame in frames:
            flow = self._flow_to(frame, self._frame_before)
            self._frame_before = frame
            yield frame, flow

    def _flow_to(self, frame: Frame, neighbour: Frame | None) -> Vectors | None:
        if self.flow is None or neighbour is None or neighbour.shape != frame.shape:
            return None
        return self.flow(frame, neighbour)

    def _within_memory(self, frames: Sequence[_Timed]) -> Iterator[Probability]:
        """Probabilities of `frames`, in batches that the device has memory for."""
        given, done = len(frames), 0
        while done < len(frames):
            part = frames[done : done + self.batch_size]
            try:
                probabilities = self._step(part)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise self._too_large(error) from error
                self.batch_size = len(part) // 2
                continue  # outside of the handler, which holds the tensors of the failed pass
            if self.batch_size < given:
                logging.getLogger(__name__).warning(
                    "out of memory with %d frames at a time: going on with %d", given, self.batch_size
                )
                given = self.batch_size
            done += len(part)
            yield from probabilities

    def _too_large(self, error: Exception) -> UserError:
        height, width = max(self.sizes)
        return UserError(
            f"the {self.model.device.type} has no memory for one frame at {height}x{width} (height x width): give a smaller size, "
            f"protocol=single_scale or device=cpu ({str(error).splitlines()[0]})"
        )

    @torch.inference_mode()
    def _step(self, frames: Sequence[_Timed]) -> list[Probability]:
        views, flows = self._views([frame for frame, _ in frames]), self._flow_views([flow for _, flow in frames])
        with self._autocast():
            encoded = [self._encode(view, flow) for view, flow in zip(views, flows, strict=True)]
            logits = [self.model.segment(self._anchor(i, X.embedding), X).float() for i, X in enumerate(encoded)]
        averages = [
            self._average([view[i : i + 1] for view in logits], (frame.shape[0], frame.shape[1]))
            for i, (frame, _) in enumerate(frames)
        ]
        if "previous" in self.protocol.anchors:
            self._previous = [X.embedding[-1:].clone() for X in encoded]
        fetched = [
            average.cpu().numpy() for average in averages
        ]  # waits for the device, which was given all of its work before
        # The device has done all it has to, and can't run out of memory any more: a batch moves the state once.
        return [self._probability(average) for average in fetched]

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.model.device.type, dtype, enabled=dtype is not torch.float32)

    def _encode(self, view: Tensor, flow: Tensor | None) -> Encoded:
        """What the network makes of a batch, which may be filled up for it."""
        encoded, count = self.model.encode(self._filled(view), None if flow is None else self._filled(flow)), len(view)
        motion = None if encoded.motion is None else encoded.motion[:count]
        return Encoded(encoded.embedding[:count], tuple(shallow[:count] for shallow in encoded.shallow), motion)

    def _filled(self, batch: Tensor) -> Tensor:
        """`[B, ...]` with its last item again and again, up to `batch_size`, where each other number of them would be compiled."""
        missing = self.batch_size - len(batch)
        if missing <= 0 or not getattr(self.model, "fixed_batch", False):
            return batch
        filled = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
        return filled.contiguous(memory_format=torch.channels_last)

    def _average(self, logits: list[Tensor], size: tuple[int, int]) -> Tensor:
        """`[H, W]` of one frame, from its views `[1, 1, h, w]`: a probability or a logit, whichever the protocol averages."""
        maps = [upsample(view, size)[0, 0] for view in logits]
        if self.protocol.mirror:
            maps[1::2] = [mirrored.flip(-1) for mirrored in maps[1::2]]
        stacked = torch.stack(maps)
        mean: Tensor = (stacked.sigmoid() if self.protocol.average == "probability" else stacked).mean(0)
        return mean

    def _probability(self, average: npt.NDArray[np.float32]) -> Probability:
        """Of one frame, from its average; with a gate, frames come here in time order, each once."""
        if self.protocol.average == "probability":
            return average
        if self.protocol.gate:
            mask = torch.from_numpy(average).sigmoid().numpy() > self.protocol.threshold
            same = self._previous_mask is not None and self._previous_mask.shape == mask.shape
            average = gate(average, self._previous_mask if same else None)
            self._previous_mask = mask
        return torch.from_numpy(average).sigmoid().numpy()

    def _anchor(self, index: int, embedding: Tensor) -> Tensor:
        """X_0 of one view; several anchors lie one below the other, since attention doesn't ask for a grid."""
        if not self.model.needs_anchor:
            return embedding
        if self.protocol.anchors == ("first",):
            return self._first[index]
        known = {
            "first": self._first[index].expand_as(embedding),
            "previous": torch.cat([self._previous[index], embedding[:-1]]),
        }
        return torch.cat([known[anchor] for anchor in self.protocol.anchors], dim=2)

    def _views(self, frames: Sequence[Frame]) -> list[Tensor]:
        """`[B, 3, h, w]` in [0, 1] for each scale, followed by its mirror image."""
        resized = [torch.cat(images) for images in zip(*map(self._resized, frames), strict=True)]
        views = [view for image in resized for view in ((image, image.flip(-1)) if self.protocol.mirror else (image,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _flow_views(self, flows: Sequence[Vectors | None]) -> list[Tensor] | list[None]:
        """The optical flow of each view, `[B, 3, h, w]`, as `to_flow_input` gives it."""
        if self.flow is None:
            return [None] * (len(self.sizes) * (1 + self.protocol.mirror))
        given = [self._sent(to_flow_input(NO_MOTION if flow is None else flow))[None] for flow in flows]
        resized = [torch.cat([upsample(flow, size) for flow in given]) for size in self.sizes]
        views = [v for flow in resized for v in ((flow, mirrored_flow(flow)) if self.protocol.mirror else (flow,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _resized(self, frame: Frame) -> list[Tensor]:
        """`[1, 3, h, w]` in [0, 1] for each scale, on the device, which the frame is sent to once."""
        if self.protocol.resize == "opencv":
            images = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for size in self.sizes]
            return [self._sent(to_tensor(np.asarray(image, np.uint8)))[None].float() / 255 for image in images]
        whole = self._sent(to_tensor(frame))[None].float() / 255
        return [upsample(whole, size) for size in self.sizes]

    def _sent(self, tensor: Tensor) -> Tensor:
        """The same on the device. A GPU fetches it from pinned memory by itself, while the CPU prepares what comes next."""
        if self.model.device.type != "cuda":
            return tensor.to(self.model.device)
        return tensor.pin_memory().to(self.model.device, non_blocking=True)


def _out_of_memory(error: RuntimeError) -> bool:
    # Of CUDA; then of Apple's and the CPU's allocator, which have no class of their own.
    kinds = ("out of memory", "can't allocate memory")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(kind in str(error) for kind in kinds)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """`size` times `scale`, down to the next 8k + 1: with aligned corners a stride-8 grid then meets pixels exactly.

    The published evaluation does so: 857x481 becomes 641x353 at 0.75 and 1281x721 at 1.5.
    """
    height, width = ((int(side * scale) - 1) // 8 * 8 + 1 for side in size)
    return height, width


def fitted_size(size: tuple[int, int], frame_size: tuple[int, int]) -> tuple[int, int]:
    """A test size for frames of another aspect: about the area of `size`, the aspect of `frame_size`, sides 8k + 1.

    All (height, width) in pixels. A phone's 1920x1080 gets 337x193 where 1080x1920 gets 193x337: an object keeps the shape
    and about the size that the network was trained on.
    """
    stretch = (frame_size[0] * size[1] / (frame_size[1] * size[0])) ** 0.5
    height, width = (8 * max(round((side - 1) / 8), 1) + 1 for side in (size[0] * stretch, size[1] / stretch))
    return height, width
