"""Log pictures, curves and a table of each validation, in addition to J and F."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import cv2
import lightning as L
import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from pydantic import NonNegativeInt

from adnet.data.masks import Mask
from adnet.data.pairs import ValidationPair
from adnet.data.pictures import Frame
from adnet.data.videos import evenly_spaced
from adnet.inference.embeddings import foreground_embeddings, mean_cosine_distance
from adnet.video.overlay import draw_overlay

LEVELS = 256
CLASSES = {1: "foreground"}


class Overlay(NamedTuple):
    """A frame `[h, w, 3]` uint8 with its predicted and its annotated mask `[h, w]` bool."""

    frame: Frame
    mask: Mask
    annotation: Mask


@dataclass(frozen=True)
class ValidationFrame:
    """What is logged of frame `index` in a sequence of `length` frames, small enough to send between processes.

    J and F are in [0, 1]. `histogram` is what the function of this name returns; None if no logger shows it.
    `cosine_distance`, in [0, 2], is between the foregrounds of this and the first frame; None if one is empty.
    """

    sequence: str
    index: int
    length: int
    J: float
    F: float
    histogram: npt.NDArray[np.int64] | None
    cosine_distance: float | None
    overlay: Overlay | None

    @property
    def time(self) -> float:
        """Position in the sequence: 0 for its first frame, 1 for its last."""
        return self.index / max(self.length - 1, 1)


class ValidationMonitor(Callback):
    """Log `val/cosine_distance`, the mean distance of foreground embeddings to the first frame's, to every logger.

    TensorBoard also gets `val/overlays`: the same frames each time, with their predicted masks. W&B gets `val/overlays`
    (masks that can be toggled), `val/precision_recall`, `val/consistency` (Figure 3 on the validation frames) and
    `val/sequences` (J and F of each).

    Args:
        overlays: number of frames to show, evenly spaced over the validation frames.
        width: width of the overlays, in pixels.
    """

    def __init__(self, overlays: NonNegativeInt = 6, width: int = 427) -> None:
        self.overlays = overlays
        self.width = width
        self._frames: list[ValidationFrame] = []
        self._shown: set[tuple[int, int]] = set()
        self._first: dict[int, torch.Tensor] = {}
        self._wandb: WandbLogger | None = None
        self._board: TensorBoardLogger | None = None

    def setup(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        for logger in trainer.loggers:
            self._wandb = logger if isinstance(logger, WandbLogger) else self._wandb
            self._board = logger if isinstance(logger, TensorBoardLogger) else self._board

    def on_validation_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        pairs = trainer.datamodule.validation_pairs.pairs  # type: ignore[attr-defined]
        chosen = evenly_spaced(len(pairs), self.overlays) if self._wandb or self._board else []
        self._shown = {pairs[index] for index in chosen}
        self._frames, self._first = [], {}

    def on_validation_batch_end(
        self, trainer: L.Trainer, _: L.LightningModule, outputs: Any, batch: ValidationPair, *__: Any
    ) -> None:
        """Keep what is logged of a batch's frames. `outputs` are those of `SegmentationModule.validation_step`."""
        dataset = trainer.datamodule.val  # type: ignore[attr-defined]
        for row, (s, t) in enumerate(batch["key"].tolist()):
            sequence = dataset.sequences[s]
            if s not in self._first:
                first = sequence.frames[0]
                known = sequence.annotation(first) if first.stem in sequence.annotations else np.zeros((1, 1), np.bool_)
                self._first[s] = foreground_embeddings(outputs["anchor_embedding"][row], known)
            annotation, logits = batch["mask"][row].cpu().numpy(), outputs["logits"][row].float().cpu().numpy()
            foreground = foreground_embeddings(outputs["embedding"][row], annotation)
            picture = None
            if (s, t) in self._shown:
                image = batch["frame"][row].permute(1, 2, 0).cpu().numpy()
                picture = overlay(image, logits > 0, annotation, self.width)
            frame = ValidationFrame(
                sequence.name,
                t,
                len(sequence.frames),
                float(outputs["J"][row]),
                float(outputs["F"][row]),
                histogram(logits, annotation) if self._wandb else None,
                mean_cosine_distance(foreground, self._first[s]),
                picture,
            )
            self._frames.append(frame)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        frames, self._frames = _gathered(self._frames), []
        if known := [frame.cosine_distance for frame in frames if frame.cosine_distance is not None]:
            pl_module.log("val/cosine_distance", float(np.mean(known)), sync_dist=True)
        if not trainer.is_global_zero:
            return
        step = max(trainer.global_step - 1, 0)  # the number of the last step, as for the scores
        if self._wandb:
            self._wandb.log_metrics(_media(frames), step)
        for frame in frames:
            if self._board and frame.overlay:
                picture = draw_overlay(frame.overlay.frame, frame.overlay.mask)
                name = f"val/overlays/{frame.sequence}-{frame.index}"
                self._board.experiment.add_image(name, picture, step, dataformats="HWC")


def _media(frames: list[ValidationFrame]) -> dict[str, Any]:
    import wandb

    precision, recall = precision_recall(frames)
    curve = wandb.Table(columns=["recall", "precision"], data=np.stack([recall, precision], axis=1).tolist())
    over_time = wandb.Table(columns=["time", "cosine distance"], data=[list(point) for point in consistency(frames)])
    rows = [
        [name, len(group), *np.mean([(frame.J, frame.F) for frame in group], axis=0).tolist()]
        for name, group in per_sequence(frames).items()
    ]
    pictures = []
    for frame in frames:
        if frame.overlay is not None:
            masks = {"prediction": frame.overlay.mask, "annotation": frame.overlay.annotation}
            drawn = {name: {"mask_data": m.astype(np.uint8), "class_labels": CLASSES} for name, m in masks.items()}
            caption = f"{frame.sequence} {frame.index}: J {100 * frame.J:.1f}"
            pictures.append(wandb.Image(frame.overlay.frame, file_type="jpg", caption=caption, masks=drawn))
    return {
        "val/overlays": pictures,
        "val/precision_recall": wandb.plot.line(curve, "recall", "precision", title="Precision and recall"),
        "val/consistency": wandb.plot.line(over_time, "time", "cosine distance", title="Temporal consistency"),
        "val/sequences": wandb.Table(columns=["sequence", "frames", "J", "F"], data=rows),
    }


def _gathered(frames: list[ValidationFrame]) -> list[ValidationFrame]:
    """Gather the frames of all processes in order. Each appears once, although distributed validation pads the last batch."""
    parts: list[Any] = [frames]
    if dist.is_available() and dist.is_initialized():
        parts = [None] * dist.get_world_size()
        dist.all_gather_object(parts, frames)
    known = {(frame.sequence, frame.index): frame for part in parts for frame in part}
    return [known[key] for key in sorted(known)]


def histogram(logits: npt.NDArray[np.float32], annotation: Mask) -> npt.NDArray[np.int64]:
    """Count the pixels of background and foreground by the 8-bit probability of logits `[H, W]`: `[2, 256]`."""
    finite = np.nan_to_num(logits.astype(np.float64).clip(-50, 50))  # after NaN, the next loss stops the run
    levels = np.rint(255 / (1 + np.exp(-finite))).astype(np.int64)
    return np.bincount((levels + LEVELS * annotation).ravel(), minlength=2 * LEVELS).reshape(2, LEVELS)


def overlay(frame: Frame, mask: Mask, annotation: Mask, width: int) -> Overlay:
    """Resize frame and masks to a width of `width` pixels, unless they are smaller."""
    if width >= frame.shape[1]:
        return Overlay(frame, mask, annotation)
    size = width, round(width * frame.shape[0] / frame.shape[1])
    small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    masks = (cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for m in (mask, annotation))
    return Overlay(small, *masks)


def precision_recall(frames: Iterable[ValidationFrame]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute precision and recall `[256]` over all pixels of all frames, at thresholds 255/255 down to 0.

    Both are 0 if no pixel reaches the threshold, or if there is no foreground.
    """
    pixels = np.sum([frame.histogram for frame in frames if frame.histogram is not None], axis=0)
    background, foreground = np.cumsum(pixels[:, ::-1], axis=1)
    return foreground / np.maximum(foreground + background, 1), foreground / max(int(foreground[-1]), 1)


def consistency(frames: Iterable[ValidationFrame]) -> list[tuple[float, float]]:
    """Average (time in [0, 1], cosine distance) over the first frames of all sequences, over the second ones, and so on."""
    points: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for group in per_sequence(frames).values():
        known = [(frame.time, frame.cosine_distance) for frame in group if frame.cosine_distance is not None]
        for number, point in enumerate(known):
            points[number].append(point)
    return [tuple(np.mean(points[number], axis=0).tolist()) for number in sorted(points)]


def per_sequence(frames: Iterable[ValidationFrame]) -> dict[str, list[ValidationFrame]]:
    """Group frames by sequence, in time order."""
    ordered = sorted(frames, key=attrgetter("sequence", "index"))
    return {name: list(group) for name, group in groupby(ordered, key=attrgetter("sequence"))}
