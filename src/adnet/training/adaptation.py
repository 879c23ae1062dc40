"""Teach a network a few corrected frames of a video. Beyond the paper.

The backbones stay as they are, so that their features are computed once for each frame; everything after them learns.
"""

import copy
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, count, cycle, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from adnet.data.augmentation import Augmentation
from adnet.data.flow import NO_MOTION, FlowMethod, OpticalFlow, Vectors, to_flow_input
from adnet.data.flow_folder import FlowFolder
from adnet.data.masks import Mask, read_mask
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame
from adnet.data.videos import composed, frame_numbered, images_in, lying_in
from adnet.errors import UserError
from adnet.inference.predict_videos import Reading, anchor_frame, check_flow
from adnet.inference.protocol import fitted_size
from adnet.inference.segmenter import square_pixels
from adnet.models import ADNet, Encoded, upsample
from adnet.training.loss import Loss, total
from adnet.training.module import poly
from adnet.video.file import VideoFrame
from adnet.video.sources import VideoSource

MOST = 20
"""Corrected frames, above which a folder more likely holds all of the network's masks than the corrected ones."""

VIEWS = 4
"""Views of each corrected frame: the frame, its mirror image, and crops around the object."""

OWN, OWN_EVERY, CONFIDENT = 6, 3, 0.4
"""Number of other frames that are to keep their present masks, every how many steps one of them is learned, too, and how far from
one half a pixel's probability must be for it to count."""

LOSS = Loss(boundary=1)
"""Of the corrected frames: that by which the released weights were trained."""

RATE = 2e-3
CHECK = 20
"""Steps after which the loss of the corrected frames themselves is computed; the weights with the lowest are returned."""


class _Example(NamedTuple):
    """The backbones' features of a view, its probability of foreground `[1, 1, H, W]`, and in which pixels that is known."""

    shallow: tuple[Tensor, ...]
    last: Tensor
    motion: Tensor | None
    target: Tensor
    known: Tensor


def read_corrections(source: VideoSource, folder: Path) -> dict[str, Mask]:
    """Read the corrected masks of `source` in `folder`, by the names of their frames.

    A mask is called like its frame, or by a name that ends in the frame's number, which is its only number or has as
    many digits as the frame's. Raises UserError if there are none or more than `MOST`, for two of one
    frame, one of no frame, and a picture that is no mask.
    """
    if source.live:
        raise UserError(f"{source.name} can't be read a second time: give a video, or a folder of frames")
    if folder.is_file():
        raise UserError(
            f"masks={folder} is a file: give a folder of masks (of COCO, adnet.convert data=coco makes one)"
        )
    files = images_in(folder)
    if not files:
        raise UserError(f"masks={folder}: no masks there{lying_in(folder)}; put the corrected frames' masks there")
    if len(files) > MOST:
        count = f"masks={folder} holds {len(files)} masks"
        raise UserError(
            f"{count}: leave only those that you corrected, at most {MOST}; with more, use adnet.train model.weights=..."
        )
    names = {composed(frame.name): frame.name for frame in Reading(source)}
    found: dict[str, Path] = {}
    for stem, file in files.items():
        name = names.get(stem) or _frame_by_number(stem, names.values())
        if name is None:
            first, last = list(names.values())[:1], list(names.values())[-1:]
            raise UserError(f"{file} is of no frame of {source.name}, which are called {' to '.join(first + last)}")
        if name in found:
            raise UserError(f"{found[name]} and {file.name} are both of frame {name} of {source.name}: keep one")
        found[name] = file
    masks = {name: read_mask(file) for name, file in found.items()}
    rims = [np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean() for mask in masks.values()]
    if min(rims) >= 0.9:
        say = logging.getLogger(__name__).warning
        say("masks=%s: the object reaches around the whole rim of the frame in each mask: are they inverted?", folder)
    return masks


def _frame_by_number(mask: str, frames: Collection[str]) -> str | None:
    numbers = re.findall(r"\d+", mask)
    if not numbers or not mask.endswith(numbers[-1]) or not (frame := frame_numbered(numbers[-1], frames)):
        return None
    # Beside other numbers it may count something else, such as brushes: Label Studio's `task-7-annotation-3-by-1-tag-Dog-0`.
    return frame if len(numbers) == 1 or re.findall(r"\d+", frame)[-1] == numbers[-1] else None


def adapt(
    model: ADNet,
    source: VideoSource,
    corrections: Mapping[str, Mask],
    size: tuple[int, int],
    *,
    flow: FlowMethod | None = None,
    anchor: str | int | None = None,
    steps: int = 120,
    seed: int = 0,
    progress: Callable[[float, float], object] | None = None,
) -> ADNet:
    """Return a copy of `model`, in eval mode, that has learned the corrected frames of `source`.

    Args:
        model: the network, on its device.
        corrections: the right masks, bool `[H, W]`, by the names of their frames; one without foreground means that nothing is there.
        size, flow, anchor: as for `predict_videos`, with which the video is then segmented again.
        steps: how many; of every twentieth, those weights are returned that fit the corrected frames themselves best.
        seed: of the crops and their order. The same arguments give the same weights.
        progress: called with the share of the work that is done, in [0, 1], and the seconds that are left.

    What can't be read of a damaged video is left out. Raises UserError if no mask has foreground, for a mask of no frame or of
    another size than its frame, and for a video that changes size or can't be read at all.

    Examples:
        >>> from adnet.models.checkpoint import load_checkpoint
        >>> from adnet.video.sources import video_sources
        >>> from PIL import Image
        >>> Path("clip").mkdir()
        >>> for name in ("00000", "00001"):
        ...     Image.new("RGB", (80, 48)).save(f"clip/{name}.png")
        >>> (clip,) = video_sources("clip")
        >>> adapt(load_checkpoint()[0], clip, {"00001": np.eye(48, 80, dtype=bool)}, (65, 113), steps=1).variant
        'full_motion'
    """
    if not any(mask.any() for mask in corrections.values()):
        raise UserError("nothing to learn: no mask has foreground; correct a frame that shows the object")
    model = copy.deepcopy(model).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    method = (flow or OpticalFlow()) if model.needs_flow else None
    if isinstance(method, FlowFolder):
        check_flow(method, source)
    work = _Progress(VIEWS * len(corrections) + OWN + steps, progress)
    _learn(model, *_examples(model, source, corrections, size, method, anchor, seed, work), steps, seed, work)
    work.step(work.total)  # a short video has fewer frames of its own
    return model.requires_grad_(True)


class _Progress:
    def __init__(self, total: int, report: Callable[[float, float], object] | None) -> None:
        self.total, self.report, self.done, self.started = total, report, 0, time.perf_counter()

    def step(self, pieces: int = 1) -> None:
        self.done = min(self.done + pieces, self.total)
        if self.report:
            seconds = time.perf_counter() - self.started
            self.report(self.done / self.total, seconds / max(self.done, 1) * (self.total - self.done))


def _examples(
    model: ADNet,
    source: VideoSource,
    corrections: Mapping[str, Mask],
    size: tuple[int, int],
    flow: FlowMethod | None,
    anchor: str | int | None,
    seed: int,
    work: _Progress,
) -> tuple[list[list[_Example]], list[_Example], Tensor]:
    """Read the video; return the views of each corrected frame (itself first), some other frames, and the anchor's features."""
    rng, every = np.random.default_rng(seed), max(1, (source.length() or 100) // OWN)
    corrected: dict[str, list[_Example]] = {}
    others: list[_Example] = []
    reading = Reading(source)
    frames = iter(reading)
    if (first := next(frames, None)) is None:
        raise UserError(reading.problem or f"{source.name} has no frames")
    shape, size = first.image.shape, fitted_size(size, first.shown_size)
    augmentation = Augmentation(size, min_crop=0.5, rotate=False, flip=0.5, jitter=0.1, reduced_decoding=False)
    nothing = np.zeros(shape[:2], bool)
    anchor_features = _example(model, size, anchor_frame(source, anchor, first.image), nothing).last
    for index, (frame, neighbour, sign) in enumerate(_with_neighbours(chain([first], frames))):
        if frame.image.shape != shape:
            raise UserError(
                f"{source.name} changes from {_written(shape)} to {_written(frame.image.shape)} at frame {frame.name}: cut it "
                "there, and correct each part alone"
            )
        mask = corrections.get(frame.name)
        if mask is not None and mask.shape != shape[:2]:
            both = f"{_written(mask.shape)}, the frame {_written(shape)}"
            raise UserError(f"the mask of frame {frame.name} is {both}: redraw it")
        if mask is not None:
            vectors = _flow(flow, source.name, frame, neighbour, sign)
            mirrored = None if vectors is None else vectors[:, ::-1] * np.array([-1, 1], np.int8)
            views: list[tuple[Frame, Mask, Any]] = [(frame.image, mask, vectors)]
            views.append((frame.image[:, ::-1], mask[:, ::-1], mirrored))
            # The augmentation would accept a reduced frame.
            read = partial(lambda image, _reduction: image, frame.image)
            views += [augmentation(read, mask, rng, vectors) for _ in range(VIEWS - 2)]
            corrected[frame.name] = [_example(model, size, *view) for view in views]
            work.step(VIEWS)
        elif index % every == every // 2 and len(others) < OWN:
            own = _example(model, size, frame.image, nothing, _flow(flow, source.name, frame, neighbour, sign))
            probability = _logits(model, own, anchor_features).detach().sigmoid()
            others.append(own._replace(target=probability, known=((probability - 0.5).abs() > CONFIDENT).float()))
            work.step()
    if missing := [name for name in corrections if name not in corrected]:
        raise UserError(f"{source.name} has no frame {missing[0]}, of which there is a mask")
    return list(corrected.values()), others, anchor_features


def _written(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _with_neighbours(frames: Iterable[VideoFrame]) -> Iterator[tuple[VideoFrame, VideoFrame | None, int]]:
    """Yield each frame with the one that its flow is computed to, the one before, and the sign 1; the first with the next and -1."""
    before = None
    for frame, after in pairwise(chain(frames, [None])):
        assert frame is not None
        yield (frame, after, -1) if before is None else (frame, before, 1)
        before = frame


def _flow(
    method: FlowMethod | None, video: str, frame: VideoFrame, neighbour: VideoFrame | None, sign: int
) -> Vectors | None:
    if isinstance(method, FlowFolder):
        return method.of_frame(video, frame.name, (frame.image.shape[0], frame.image.shape[1]))
    if not isinstance(method, OpticalFlow) or neighbour is None or neighbour.image.shape != frame.image.shape:
        return None
    images = (square_pixels(image, frame.pixel_aspect) for image in (frame.image, neighbour.image))
    return np.asarray(sign * method(*images), np.int8)


@torch.no_grad()
def _example(
    model: ADNet, size: tuple[int, int], image: Frame, mask: Mask, flow: npt.NDArray[np.number[Any]] | None = None
) -> _Example:
    """Compute the backbones' features of a view, whose whole mask is known."""

    def sent(values: Tensor) -> Tensor:
        return upsample(values[None].float().to(model.device), size).contiguous(memory_format=torch.channels_last)

    *shallow, _, last = model.encoder.features(sent(to_tensor(image) / 255))
    motion = None
    if model.motion is not None:
        motion = model.motion.features(sent(to_flow_input(NO_MOTION if flow is None else flow)))[-1]
    target = (sent(torch.from_numpy(mask.copy())[None]) >= 0.5).float()
    return _Example(tuple(shallow[::-1]), last, motion, target, torch.ones_like(target))


def _logits(model: ADNet, example: _Example, anchor: Tensor) -> Tensor:
    """Compute logits at the size of the example's mask from the backbones' features."""
    motion = model.motion.embed(example.motion) if model.motion and example.motion is not None else None
    shallow = example.shallow if model.decoder is not None else ()
    frame = Encoded(model.encoder.embed(example.last), shallow, motion)
    logits = model.segment(model.encoder.embed(anchor) if model.needs_anchor else frame.embedding, frame)
    return upsample(logits, (example.target.shape[-2], example.target.shape[-1]))


def _learn(
    model: ADNet,
    corrected: list[list[_Example]],
    own: list[_Example],
    anchor: Tensor,
    steps: int,
    seed: int,
    work: _Progress,
) -> None:
    """Minimise the loss of training on the corrected frames' views, and the difference from `own`; keep the best weights."""
    parts = [model.encoder.aspp, model.encoder.project, model.head, model.decoder]
    parts += [model.motion.aspp, model.motion.project] if model.motion is not None else []
    weights = nn.ModuleList(part for part in parts if part is not None)
    optimizer = torch.optim.Adam(weights.requires_grad_(True).parameters(), RATE)
    rate = poly(optimizer, horizon=steps, warmup=5)
    views, rng = list(chain.from_iterable(corrected)), np.random.default_rng(seed)
    order = chain.from_iterable(rng.permutation(len(views)) for _ in count())

    def loss_of(view: _Example) -> Tensor:
        return total(LOSS(_logits(model, view, anchor), view.target > 0.5))

    @torch.no_grad()
    def of_frames() -> float:
        return sum(loss_of(frame).item() for frame, *_ in corrected) / len(corrected)

    best, best_weights = of_frames(), copy.deepcopy(weights.state_dict())
    others = cycle(own)
    for step, index in zip(range(1, steps + 1), order, strict=False):
        loss = loss_of(views[index])
        if own and step % OWN_EVERY == 0:
            other = next(others)
            loss = loss + binary_cross_entropy_with_logits(_logits(model, other, anchor), other.target, other.known)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
        work.step()
        if step % CHECK == 0 or step == steps:
            now = of_frames()
            if now < best:
                best, best_weights = now, copy.deepcopy(weights.state_dict())
    weights.load_state_dict(best_weights)
    weights.requires_grad_(False)
