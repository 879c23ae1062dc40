"""Train and validate an ADNet as a LightningModule, by the "poly" schedule (Section 4, Training)."""

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from adnet.data.masks import Mask
from adnet.data.pairs import TrainingPair, ValidationPair
from adnet.metrics import contour_accuracy, region_similarity
from adnet.models import ADNet, Encoded, upsample
from adnet.training.loss import Loss, total

Network = Callable[..., tuple[Tensor, Tensor | None]]
"""`ADNet.forward_with_aux`."""


class SequenceMean(Metric):
    """Mean of a per-frame `measure` over the frames of each sequence, then the plain mean over sequences.

    `measure` is a function of mask and annotation, bool arrays `[H, W]`, such as `region_similarity`; it runs on the CPU. The last
    batch of a distributed validation is padded with frames that another process has, too; by its key, each frame counts once.
    """

    full_state_update = False

    keys: list[Tensor]
    scores: list[Tensor]

    def __init__(self, measure: Callable[[Mask, Mask], float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._measure = measure
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.add_state("scores", default=[], dist_reduce_fx="cat")

    def update(self, masks: Tensor, annotations: Tensor, keys: Tensor) -> None:
        """Add frames: bool `masks` and `annotations` `[B, H, W]`, int64 `keys` `[B, 2]` = (sequence, frame) index."""
        self.keys.append(keys)
        triples = zip(masks.cpu().numpy(), annotations.cpu().numpy(), keys, strict=True)
        scores = [self._measure(mask, annotation) for mask, annotation, _ in triples]
        self.scores.append(torch.tensor(scores, dtype=torch.float32, device=keys.device))

    def compute(self) -> Tensor:
        """Return the mean, a 0-d tensor in [0, 1]. Raises ValueError if no frame was added."""
        keys, scores = _mean_per_key(dim_zero_cat(self.keys), dim_zero_cat(self.scores))
        _, scores = _mean_per_key(keys[:, :1], scores)
        return scores.mean()


def _mean_per_key(keys: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of `keys` `[N, K]`, and for each the mean of its `scores` `[N]`."""
    unique, index, count = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
    return unique, scores.new_zeros(len(unique)).index_add_(0, index, scores) / count


class SegmentationModule(L.LightningModule):
    """Minimise a loss on logits upsampled to the mask (Section 4, Training); log J and F on validation pairs.

    Args:
        model: the network.
        optimizer: parameter groups -> optimiser, e.g. a partial of `torch.optim.SGD`.
        schedule: optimiser -> learning-rate schedule, stepped once per iteration.
        new_layers_lr: factor on the learning rate of all layers except the pretrained backbone (1 in the paper).
        test_size: height and width of validation frames, in pixels.
        seed: seed of dropout; the pairs have their own.
        loss: loss of logits and mask `[B, 1, H, W]`; None: binary cross-entropy alone.
    """

    def __init__(
        self,
        model: ADNet,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        new_layers_lr: float = 1.0,
        test_size: tuple[int, int] = (481, 857),
        seed: int = 0,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"model": model.config, "test_size": list(test_size)})
        self.model = model.to(memory_format=torch.channels_last)
        self.test_size = test_size
        self._optimizer = optimizer
        self._schedule = schedule
        self._new_layers_lr = new_layers_lr
        self._seed = seed
        self._loss = loss or Loss()
        self._network: Network = self.model.forward_with_aux
        self._val_J, self._val_F = SequenceMean(region_similarity), SequenceMean(contour_accuracy)
        self._anchors: tuple[list[int], Tensor, Tensor] | None = None
        self._parts: list[dict[str, Tensor]] = []

    def compile_network(self, backend: str = "inductor") -> None:
        """Compile the network with `torch.compile` in the first training step. Validation is not compiled."""
        self._network = torch.compile(self.model.forward_with_aux, dynamic=False, backend=backend)

    def configure_optimizers(self) -> Any:
        """Build the optimiser with two groups: backbones at the base rate, other layers at `new_layers_lr` times it."""
        # The motion branch's backbone starts from ImageNet weights, too: at ten times the rate, its activations die.
        encoders = [self.model.encoder, self.model.motion]
        backbone = [parameter for encoder in encoders if encoder for parameter in encoder.backbone.parameters()]
        pretrained = {id(parameter) for parameter in backbone}
        new = [parameter for parameter in self.model.parameters() if id(parameter) not in pretrained]
        optimizer = self._optimizer([{"params": backbone}, {"params": new}])
        optimizer.param_groups[1]["lr"] *= self._new_layers_lr
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule(optimizer), "interval": "step"}}

    def on_train_batch_start(self, _: TrainingPair, batch_idx: int) -> None:
        # Like the pairs, dropout is a function of seed and step, so that a resumed run ends with the same weights.
        part = batch_idx % self.trainer.accumulate_grad_batches
        entropy = np.random.SeedSequence([self._seed, self.global_step, self.global_rank, part])
        torch.manual_seed(int(entropy.generate_state(1)[0]))

    def training_step(self, batch: TrainingPair, _: int) -> Tensor:
        terms = batch_loss(self.model, self._loss, batch, self._network)
        loss = total(terms)
        # A single term is the loss itself, and needs no curve of its own.
        logged = {"loss": loss, **(terms if len(terms) > 1 else {})}
        self._parts.append({name: value.detach() for name, value in logged.items()})
        return loss

    def on_before_optimizer_step(self, _: Optimizer) -> None:
        """Log loss and terms of the whole batch, over ranks and accumulated parts, and the learning rates of both groups."""
        parts, self._parts = self._parts, []
        if (self.global_step + 1) % self.trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return  # this step is not logged, and reducing would make ranks wait for each other
        values = torch.stack([torch.stack([*part.values()]) for part in parts]).mean(0)
        for name, value in zip(parts[0], self.trainer.strategy.reduce(values, reduce_op="mean"), strict=True):
            self.log(f"train/{name}", value)
        for name, rate in zip(("train/lr", "train/lr_new_layers"), self.lr_schedulers().get_last_lr(), strict=True):  # type: ignore[union-attr]
            # Not a number, which Lightning would copy to the GPU and wait for.
            self.log(name, torch.tensor(rate, dtype=torch.float32))

    def on_validation_epoch_start(self) -> None:
        self._anchors = None  # computed with the weights of the previous validation

    def validation_step(self, batch: ValidationPair, _: int) -> dict[str, Tensor]:
        """Return `logits` `[B, H, W]`, the scores `J` and `F` `[B]`, and `anchor_embedding` and `embedding` `[B, C, h, w]`.

        Embeddings are the input of the branches; for the baseline, the input of its last layer.
        """
        mask, sequences = batch["mask"], batch["key"][:, 0].tolist()
        if self._anchors is None or self._anchors[0] != sequences:
            # Embed the anchors once for all frames of a sequence.
            anchor, features = self._encode(batch["anchor"])
            self._anchors = sequences, anchor.embedding, features
        encoded, features = self._encode(batch["frame"], batch.get("flow"))
        logits = self.model.segment(self._anchors[1], encoded).float()
        logits = upsample(logits, (mask.shape[-2], mask.shape[-1]))[:, 0]
        self._val_J.update(logits > 0, mask, batch["key"])
        self._val_F.update(logits > 0, mask, batch["key"])
        self.log("val/J", self._val_J, prog_bar=True)
        self.log("val/F", self._val_F)
        scores = {"J": self._val_J.scores[-1], "F": self._val_F.scores[-1]}
        return {"logits": logits, **scores, "anchor_embedding": self._anchors[2], "embedding": features}

    def _encode(self, frames: Tensor, flow: Tensor | None = None) -> tuple[Encoded, Tensor]:
        """Encode frames uint8 `[B, 3, H, W]` with their flow; also return the embeddings of `validation_step`."""
        resized = upsample(as_input(frames, self.model.dtype), self.test_size)
        encoded = self.model.encode(resized, None if flow is None else upsample(flow, self.test_size))
        if self.model.branches:
            return encoded, encoded.embedding
        encoder = self.model.encoder
        return encoded, encoder.aspp(encoder.features(resized)[-1])


def batch_loss(model: ADNet, loss: Loss, batch: TrainingPair, network: Network | None = None) -> dict[str, Tensor]:
    """Compute the terms of the loss of a batch of pairs, of which `aux` is the auxiliary head's if the network has one: scalars.

    `network` replaces the model's `forward_with_aux`, e.g. by a compiled one.
    """
    anchor, frame = (as_input(frames, model.dtype) for frames in (batch["anchor"], batch["frame"]))
    logits, aux = (network or model.forward_with_aux)(anchor, frame, batch.get("flow"))
    mask = batch["mask"].unsqueeze(1)
    terms = upsampled_loss(loss, logits, mask)
    return terms if aux is None else terms | {"aux": model.aux_weight * total(upsampled_loss(loss, aux, mask))}


def upsampled_loss(loss: Loss, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Compute the terms of the loss of logits `[B, 1, h, w]`, upsampled to the masks `[B, 1, H, W]`, in float32: scalars."""
    # Always in float32: each logit's gradient is a sum over a hundred pixels, which half precision rounds a hundred times.
    return loss(upsample(logits.float(), (mask.shape[-2], mask.shape[-1])), mask)


def as_input(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert frames uint8 `[B, 3, H, W]` to `dtype` (that of the network's weights), in [0, 1], channels last."""
    return frames.to(dtype).div(255).contiguous(memory_format=torch.channels_last)


def poly(
    optimizer: Optimizer, horizon: PositiveInt, power: NonNegativeFloat = 0.9, warmup: NonNegativeInt = 0
) -> LambdaLR:
    """Multiply each learning rate by `(1 - iteration / horizon) ** power`. Step the schedule once per iteration.

    The paper's horizon is 40,000 for 30,000 iterations; beyond the horizon, the factor is 0. It rises linearly during the
    first `warmup` iterations (0 in the paper).
    """

    def factor(iteration: int) -> float:
        decay: float = max(0.0, 1 - iteration / horizon) ** power
        return decay * min(1.0, (iteration + 1) / (warmup + 1))

    return LambdaLR(optimizer, factor)
