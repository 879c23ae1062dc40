"""Log pictures, curves and a table of each validation, in addition to J and F."""

from __future__ import annotations

from typing import Any, TypeVar

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from pydantic import NonNegativeInt

from adnet.data.pairs import ValidationPair
from adnet.data.sequence import evenly_spaced
from adnet.inference.embeddings import mean_cosine_distance
from adnet.training.validation import (
    ValidationFrame,
    consistency,
    foreground_embeddings,
    histogram,
    overlay,
    per_sequence,
    precision_recall,
)
from adnet.video.overlay import draw_overlay

CLASSES = {1: "foreground"}

T = TypeVar("T")


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

    def on_validation_epoch_start(self, trainer: L.Trainer, *_: Any) -> None:
        pairs = trainer.datamodule.validation_pairs.pairs  # type: ignore[attr-defined]
        chosen = evenly_spaced(len(pairs), self.overlays)
        self._shown = (
            {pairs[index] for index in chosen}
            if _logger(trainer, WandbLogger) or _logger(trainer, TensorBoardLogger)
            else set()
        )
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
            distance = mean_cosine_distance(
                foreground_embeddings(outputs["embedding"][row], annotation), self._first[s]
            )
            levels = None if _logger(trainer, WandbLogger) is None else histogram(logits, annotation)
            picture = None
            if (s, t) in self._shown:
                image = batch["frame"][row].permute(1, 2, 0).cpu().numpy()
                picture = overlay(image, logits > 0, annotation, self.width)
            J, F = float(outputs["J"][row]), float(outputs["F"][row])
            self._frames.append(
                ValidationFrame(sequence.name, t, len(sequence.frames), J, F, levels, distance, picture)
            )

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        frames = _gathered(self._frames)
        self._frames = []
        if known := [frame.cosine_distance for frame in frames if frame.cosine_distance is not None]:
            pl_module.log("val/cosine_distance", float(np.mean(known)), sync_dist=True)
        if (logger := _logger(trainer, WandbLogger)) is not None and trainer.is_global_zero:
            logger.log_metrics(
                _media(frames), max(trainer.global_step - 1, 0)
            )  # the number of the last step, as for the scores
        if (board := _logger(trainer, TensorBoardLogger)) is not None and trainer.is_global_zero:
            for frame in frames:
                if frame.overlay is not None:
                    picture = draw_overlay(frame.overlay.frame, frame.overlay.mask)
                    name = f"val/overlays/{frame.sequence}-{frame.index}"
                    board.experiment.add_image(name, picture, max(trainer.global_step - 1, 0), dataformats="HWC")


def _media(frames: list[ValidationFrame]) -> dict[str, Any]:
    import wandb

    precision, recall = precision_recall(frames)
    curve = wandb.Table(columns=["recall", "precision"], data=np.stack([recall, precision], axis=1).tolist())
    over_time = wandb.Table(columns=["time", "cosine distance"], data=[list(point) for point in consistency(frames)])
    rows = [
        [name, len(group), float(np.mean([frame.J for frame in group])), float(np.mean([frame.F for frame in group]))]
        for name, group in per_sequence(frames).items()
    ]
    pictures = [
        wandb.Image(
            frame.overlay.frame,
            file_type="jpg",
            caption=f"{frame.sequence} {frame.index}: J {100 * frame.J:.1f}",
            masks={
                "prediction": {"mask_data": frame.overlay.mask.astype(np.uint8), "class_labels": CLASSES},
                "annotation": {"mask_data": frame.overlay.annotation.astype(np.uint8), "class_labels": CLASSES},
            },
        )
        for frame in frames
        if frame.overlay is not None
    ]
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


def _logger(trainer: L.Trainer, kind: type[T]) -> T | None:
    return next((logger for logger in trainer.loggers if isinstance(logger, kind)), None)
