"""Segmentation of a video frame by frame, with the anchor embedded once (Section 4, Inference)."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice, repeat, starmap

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adnet.backends.runtime import SegmentationModel
from adnet.data.flow import NO_MOTION, OpticalFlow, Vectors, mirrored_flow, to_flow_input
from adnet.data.masks import Probability
from adnet.data.pictures import Frame
from adnet.errors import UserError
from adnet.inference.postprocess import gate, guided_filter
from adnet.inference.protocol import Protocol, scaled_size
from adnet.inference.smoothing import Link, TemporalAverage, link
from adnet.models import upsample
from adnet.video.threads import FRAMES_IN_FLIGHT, in_parallel

_FrameAndFlow = tuple[Frame, Vectors | None]
"""A frame with its optical flow."""

_Neighbours = tuple[Frame, Frame | None, bool]
"""A frame, the neighbour that its optical flow points to, and whether that is the next frame, so that the flow's sign is flipped."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions of convolutions and attention. Weights, and everything after the logits, stay in float32."""


class VideoSegmenter:
    """Segment videos: `start(anchor)` once a video, then `step(frame)` for each frame; or `segment(frames)`, which does both.

    Frames may have any size, which may change within a video: each is resized to the test size, its probability map back. Memory
    does not grow with the length of the video. `steps` and `segment` read ahead and, on a CPU, process two batches at once, each
    with half of PyTorch's threads; results come in order. A network with a motion branch gets the optical flow from each frame to
    the previous one; for the first frame, that to the next one with its sign flipped, as in training.

    Args:
        model: on its device; set to eval mode here.
        size: height and width in pixels that all frames are resized to at scale 1; see `fitted_size` for other aspects.
        batch_size: how many frames `steps` and `segment` process at once; None: 1 on a CPU, else 4. It is halved when the device runs
            out of memory.
        flow: computes the optical flow from a frame to its neighbour, for a network that needs it; None: `OpticalFlow()`.
        precision: one of `PRECISIONS`, by autocast; exported networks (OpenVINO, ONNX) have their own.

    Raises UserError for several anchors with a variant that takes one, a scale that leaves too few pixels, a batch size below 1,
    an unknown precision, and a precision for an exported network.

    Examples:
        >>> from adnet.models.checkpoint import load_checkpoint
        >>> segmenter = VideoSegmenter(load_checkpoint()[0], Protocol("single_scale"), (65, 113))
        >>> frames = np.zeros((2, 48, 80, 3), np.uint8)
        >>> [probability.shape for probability in segmenter.segment(frames)]
        [(48, 80), (48, 80)]
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
            raise UserError(f"the variant {model.variant!r} takes one anchor: set protocol.anchors=[first]")
        if isinstance(model, nn.Module):
            model.eval().to(memory_format=torch.channels_last)
        self.model = model
        self.protocol = protocol
        self.size = size
        self.precision = precision
        self.sizes = [scaled_size(size, scale) for scale in protocol.scales]
        if min(map(min, self.sizes)) < 9:
            raise UserError(
                f"protocol.scales: {min(protocol.scales)} of {size[0]}x{size[1]} leaves fewer than 9 pixels"
            )
        self.batch_size = (1 if model.device.type == "cpu" else 4) if batch_size is None else batch_size
        if self.batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give 1 or more")
        self.flow: Callable[[Frame, Frame], Vectors] | None = (flow or OpticalFlow()) if model.needs_flow else None
        self._pixel_aspect = 1.0
        self._frame_before: Frame | None = None
        self._first: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._previous_mask: npt.NDArray[np.bool_] | None = None
        self._average_before = TemporalAverage()

    @torch.inference_mode()
    def start(self, anchor: Frame, pixel_aspect: float = 1.0) -> None:
        """Embed the anchor, RGB uint8 `[H, W, 3]`, once per scale and mirror image.

        `pixel_aspect` is the width of the video's pixels divided by their height; optical flow is computed on square pixels.

        Raises UserError if the device runs out of memory.
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
        self._pixel_aspect, self._average_before = pixel_aspect, TemporalAverage()

    def step(self, frame: Frame) -> Probability:
        """Segment a frame: RGB uint8 `[H, W, 3]` -> foreground probability, float32 `[H, W]`, averaged over scales and mirror.

        Raises UserError before `start`, and if the device runs out of memory.
        """
        self._check_started()
        given = [(neighbours, None) for neighbours in self._with_neighbour([frame], live=True)]
        return self._finished(*self._results(given, computed=True)[0])

    def steps(
        self, frames: Iterable[Frame], *, live: bool = False, flows: Iterable[Vectors | None] | None = None
    ) -> Generator[Probability, None, None]:
        """Yield the result of `step` for each of `frames`, processing `batch_size` at once.

        If the network takes optical flow, the second frame of a video is read before the first is segmented, unless frames are
        `live`. `flows` are the frames' normalised flows if already known (None for a frame without a neighbour), each read after
        its frame; no flow is computed then. `frames` are read in another thread, one batch ahead of the results (on a CPU, two).
        """
        self._check_started()
        work = partial(self._results, computed=flows is None)
        threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
        neighbours = self._with_neighbour(frames, live or flows is not None)
        given = zip(neighbours, repeat(None) if flows is None else flows, strict=False)
        batches = iter(lambda: list(islice(given, self.batch_size)), [])
        # A GPU has one queue, a compiled network would be recompiled in each thread, and `previous` needs the previous frame.
        alone = self.model.device.type != "cpu" or getattr(self.model, "fixed_batch", False)
        alone |= "previous" in self.protocol.anchors
        workers = 1 if alone else min(FRAMES_IN_FLIGHT, threads)
        cv2.setNumThreads(1)
        try:
            share = partial(torch.set_num_threads, threads // workers)
            share()  # `_finished` runs in this thread, beside the workers
            with closing(in_parallel(work, batches, workers, share)) as results:
                for batch in results:
                    yield from starmap(self._finished, batch)
        finally:
            cv2.setNumThreads(opencv_threads)
            torch.set_num_threads(threads)  # a worker's setting becomes the default of later threads

    def segment(self, frames: Iterable[Frame]) -> Iterator[Probability]:
        """Yield the probability of each frame of a video, on demand; the first frame is the anchor."""
        frames = iter(frames)
        for anchor in islice(frames, 1):
            self.start(anchor)
            yield from self.steps(chain([anchor], frames))

    def skip(self, frame: Frame) -> None:
        """Skip a frame, RGB uint8 `[H, W, 3]`, that needs no mask; the next frame's optical flow points to it."""
        self._frame_before = frame
        self._average_before.skip()

    def _check_started(self) -> None:
        if self.model.needs_anchor and not self._first:
            raise UserError("no anchor yet: call start(anchor_frame) before step(frame)")

    def _with_neighbour(self, frames: Iterable[Frame], live: bool) -> Iterator[_Neighbours]:
        """Yield each frame with the previous one; the first of a video, unless it is `live`, with the next one."""
        frames = iter(frames)
        if self.flow is None and not self.protocol.smooth:
            yield from ((frame, None, False) for frame in frames)
            return
        if self.flow is not None and self._frame_before is None and not live:
            first = list(islice(frames, 2))
            if len(first) == 2:
                self._frame_before = first.pop(0)
                yield self._frame_before, first[0], True
            frames = chain(first, frames)
        for frame in frames:
            before, self._frame_before = self._frame_before, frame
            yield frame, before, False

    def _results(
        self, frames: Sequence[tuple[_Neighbours, Vectors | None]], computed: bool
    ) -> list[tuple[Frame, npt.NDArray[np.float32], Link | None]]:
        """Return the arguments of `_finished` for `frames`, which have their normalised flows, unless these are `computed` here."""
        motions = [self._motion(*neighbours, given, computed) for neighbours, given in frames]
        images = [image for (image, _, _), _ in frames]
        flows, links = zip(*motions, strict=True)
        averages = self._within_memory(list(zip(images, flows, strict=True)))
        return list(zip(images, averages, links, strict=True))

    def _motion(
        self, frame: Frame, neighbour: Frame | None, is_next: bool, given: Vectors | None, computed: bool
    ) -> tuple[Vectors | None, Link | None]:
        """Return the network's flow and the link to the previous frame; None if not needed, or if no neighbour has the same size."""
        if neighbour is None or neighbour.shape != frame.shape:
            return given, None
        frame, neighbour = (square_pixels(image, self._pixel_aspect) for image in (frame, neighbour))
        method = self.flow if computed else None
        linked = None
        if self.protocol.smooth and not is_next:
            linked = link(frame, neighbour, method if isinstance(method, OpticalFlow) else OpticalFlow())
        if method is None:
            return given, linked
        if linked and isinstance(method, OpticalFlow):
            return method.of_vectors(linked.flow), linked
        flow = method(frame, neighbour)
        return -flow if is_next else flow, linked

    def _within_memory(self, frames: Sequence[_FrameAndFlow]) -> list[npt.NDArray[np.float32]]:
        """Compute the result of `_step` for `frames`, in batches that fit the device's memory."""
        given, results = min(self.batch_size, len(frames)), list[npt.NDArray[np.float32]]()
        while part := frames[len(results) :][: self.batch_size]:
            try:
                results += self._step(part)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise self._too_large(error) from error
                self.batch_size = len(part) // 2
                continue  # outside the handler, which keeps the tensors of the failed pass alive
            if self.batch_size < given:
                said = f"out of memory with {given} frames at a time: continuing with {self.batch_size}"
                logging.getLogger(__name__).warning(said)
                given = self.batch_size
        return results

    def _too_large(self, error: Exception) -> UserError:
        height, width = max(self.sizes)
        return UserError(
            f"the {self.model.device.type} has no memory for one frame at {height}x{width} (height x width): give a smaller size, "
            f"protocol=single_scale or device=cpu ({str(error).splitlines()[0]})"
        )

    @torch.inference_mode()
    def _step(self, frames: Sequence[_FrameAndFlow]) -> list[npt.NDArray[np.float32]]:
        """Compute the average of each frame's views, probabilities or logits, at the size `_size_of_average`."""
        views, flows = self._views([frame for frame, _ in frames]), self._flow_views([flow for _, flow in frames])
        with self._autocast():
            previous: list[Tensor] = []
            logits = [self._logits(i, *given, previous) for i, given in enumerate(zip(views, flows, strict=True))]
        averages = [
            self._average([view[i : i + 1] for view in logits], self._size_of_average(frame))
            for i, (frame, _) in enumerate(frames)
        ]
        self._previous = previous
        # Wait for the device only here, when it has been given all of its work.
        return [average.cpu().numpy() for average in averages]

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.model.device.type, dtype, enabled=dtype is not torch.float32)

    def _logits(self, index: int, view: Tensor, flow: Tensor | None, previous: list[Tensor]) -> Tensor:
        """Compute the logits of a view's batch, padded if the network needs full batches.

        Several anchors are stacked vertically, because attention does not depend on the grid. If each frame is the next one's
        anchor, the last frame's embedding is appended to `previous`.
        """
        frames, flow, number = self._filled(view), None if flow is None else self._filled(flow), len(view)
        if not self.model.needs_anchor or "previous" not in self.protocol.anchors:
            anchor = self._first[index] if self.model.needs_anchor else None
            return self.model.logits(anchor, frames, flow)[:number].float()
        encoded = self.model.encode(frames, flow)
        embedding = encoded.embedding
        before = torch.cat([self._previous[index], embedding[:-1]])
        previous.append(embedding[number - 1 : number].clone())
        known = {"first": self._first[index].expand_as(embedding), "previous": before}
        anchors = torch.cat([known[anchor] for anchor in self.protocol.anchors], dim=2)
        return self.model.segment(anchors, encoded)[:number].float()

    def _filled(self, batch: Tensor) -> Tensor:
        """Pad `[B, ...]` to `batch_size` with copies of its last item, if other batch sizes would be compiled anew."""
        missing = self.batch_size - len(batch)
        if missing <= 0 or not getattr(self.model, "fixed_batch", False):
            return batch
        filled = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
        return filled.contiguous(memory_format=torch.channels_last)

    def _size_of_average(self, frame: Frame) -> tuple[int, int]:
        """Return the size of the frame, or the test size if the guided filter is to upsample the average.

        A frame no larger than the test size has no detail that the network did not see, and is not filtered.
        """
        height, width = frame.shape[:2]
        filtered = self.protocol.refine and height * width > self.size[0] * self.size[1]
        return self.size if filtered else (height, width)

    def _average(self, logits: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Average the views `[1, 1, h, w]` of a frame to `[H, W]` of `size`: probabilities or logits, as the protocol says."""
        maps = [upsample(view, size)[0, 0] for view in logits]
        if self.protocol.mirror:
            maps[1::2] = [mirrored.flip(-1) for mirrored in maps[1::2]]
        if self.protocol.average == "probability":
            maps = [view.sigmoid() for view in maps]
        return maps[0] if len(maps) == 1 else torch.stack(maps).mean(0)

    def _finished(self, frame: Frame, average: npt.NDArray[np.float32], linked: Link | None) -> Probability:
        """Turn the average of a frame's views into its probability. Called in time order, once per frame."""
        if self.protocol.average == "probability":
            if self.protocol.smooth:
                average = self._average_before.step(average, linked)
            return average if average.shape == frame.shape[:2] else guided_filter(frame, average)
        if self.protocol.gate:
            mask = torch.from_numpy(average).sigmoid().numpy() > self.protocol.threshold
            same = self._previous_mask is not None and self._previous_mask.shape == mask.shape
            average = gate(average, self._previous_mask if same else None)
            self._previous_mask = mask
        return torch.from_numpy(average).sigmoid().numpy()

    def _views(self, frames: Sequence[Frame]) -> list[Tensor]:
        """Return `[B, 3, h, w]` in [0, 1] for each scale, followed by its mirror image."""
        resized = [torch.cat(images) for images in zip(*map(self._resized, frames), strict=True)]
        views = [view for image in resized for view in ((image, image.flip(-1)) if self.protocol.mirror else (image,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _flow_views(self, flows: Sequence[Vectors | None]) -> list[Tensor] | list[None]:
        """Return the optical flow of each view, `[B, 3, h, w]`, as `to_flow_input` gives it."""
        if self.flow is None:
            return [None] * (len(self.sizes) * (1 + self.protocol.mirror))
        inputs = [self._sent(to_flow_input(NO_MOTION if flow is None else flow)) for flow in flows]
        given = [_batch_of(flow.permute(1, 2, 0)) for flow in inputs]
        resized = [torch.cat([upsample(flow, size) for flow in given]) for size in self.sizes]
        views = [v for flow in resized for v in ((flow, mirrored_flow(flow)) if self.protocol.mirror else (flow,))]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _resized(self, frame: Frame) -> list[Tensor]:
        """Return `[1, 3, h, w]` in [0, 1] for each scale, on the device. The frame is sent there only once."""
        if self.protocol.resize == "opencv":
            resized = (cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR) for size in self.sizes)
            return [self._image(np.asarray(image, np.uint8)) / 255 for image in resized]
        whole = self._image(frame)
        return [upsample(whole, size) / 255 for size in self.sizes]

    def _image(self, frame: Frame) -> Tensor:
        """Return a frame as floats `[1, 3, H, W]` in [0, 255], channels last, on the device."""
        return _batch_of(self._sent(torch.tensor(frame))).float()

    def _sent(self, tensor: Tensor) -> Tensor:
        """Send a tensor to the device. From pinned memory, a GPU fetches it while the CPU continues."""
        if self.model.device.type != "cuda":
            return tensor.to(self.model.device)
        return tensor.pin_memory().to(self.model.device, non_blocking=True)


def _batch_of(image: Tensor) -> Tensor:
    """Turn `[h, w, C]` into `[1, C, h, w]` in a way that PyTorch recognises as channels-last, which it resizes faster."""
    return image[None].permute(0, 3, 1, 2)


def square_pixels(image: Frame, pixel_aspect: float) -> Frame:
    """Stretch an image with non-square pixels as players do."""
    if pixel_aspect == 1:
        return image
    width = max(round(image.shape[1] * pixel_aspect), 1)
    return np.asarray(cv2.resize(image, (width, image.shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)


def _out_of_memory(error: RuntimeError) -> bool:
    # CUDA's and Apple's allocators use the first phrase, the CPU's the second.
    return any(said in str(error) for said in ("out of memory", "can't allocate memory"))
