"""Measure pairs per second and the wait for data, compared with straightforward training.

python experiments/speed/training.py experiments/speed/training.json [scale=lite] [OVERRIDES of adnet.train]

Straightforward ("plain") training calls the encoder separately for anchor and frame, decodes images at full size, and keeps
tensors in NCHW order. Both train the same network on the same pairs with the same loader, taking turns.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import hydra
import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor

from adnet.benchmark.device import device_name, float32, matmul_peak, memory_mib, wait
from adnet.data.datamodule import PairDataModule
from adnet.data.flow import SequenceFlow
from adnet.data.pairs import TrainingPair
from adnet.data.videos import VideoDataset
from adnet.models import ADNet, model_cost
from adnet.shared.command import conf_dir
from adnet.shared.files import write_json
from adnet.shared.machine import usable_device
from adnet.training import SegmentationModule
from adnet.training.callbacks import Throughput
from adnet.training.loss import total
from adnet.training.module import as_input, upsampled_loss


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    joint_encoder: bool = True
    reduced_decoding: bool = True
    channels_last: bool = True
    precision: str = "fp32"
    compiled: bool = False


OURS, PLAIN = Way(), Way(joint_encoder=False, reduced_decoding=False, channels_last=False)


def measure(settings: DictConfig, steps: int = 6, warmup: int = 2, rounds: int = 2) -> dict[str, Any]:
    """Train `steps` steps in each way, after `warmup` steps, `rounds` times in turn; the best round of each counts.

    `settings` are those of `python -m adnet.train`. On a GPU, training in TF32, in bfloat16 and compiled is measured, too.
    """
    device = usable_device("cpu" if settings.trainer.accelerator == "cpu" else None)
    dataset: VideoDataset = instantiate(settings.data, split="train")
    L.seed_everything(settings.seed, workers=True, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model = instantiate(settings.model)
    ways = {"adnet": OURS, "plain": PLAIN}
    if device.type == "cuda":
        ways |= {"adnet tf32": Way(precision="tf32"), "adnet bf16": Way(precision="bf16")}
        ways |= {"adnet compile": Way(compiled=True)}
    flow: SequenceFlow | None = instantiate(settings.flow) if model.needs_flow else None
    # As a training begins: with the flow of all frames in its cache.
    _data(settings, dataset, flow, OURS, 1).prepare_data()
    loading = {name: _seconds_per_pair(_data(settings, dataset, flow, way, 1)) for name, way in ways.items()}
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            measured[name].append(_fit(settings, dataset, flow, deepcopy(model), way, warmup, steps, device))
    best = {name: max(of_way, key=lambda one: one["pairs_per_second"]) for name, of_way in measured.items()}
    peaks = {kind: matmul_peak(device, kind) for kind in {way.precision for way in ways.values()}}
    pairs = settings.pairs
    # Two frames, and the backward pass is twice the work of the forward pass.
    gflops = 6 * model_cost(model, tuple(pairs.augmentation.crop_size)).gflops
    return {
        "variant": model.variant,
        "backbone": settings.model.encoder.backbone,
        "crop_size": list(pairs.augmentation.crop_size),
        "batch_size": pairs.batch_size,
        "workers": best["adnet"]["workers"],
        "threads": torch.get_num_threads(),
        "steps": steps,
        "device": device_name(device),
        "gflops_per_pair": gflops,
        "precisions_matmul_gflops_per_second": peaks,
        "ways": {
            name: {
                **best[name],
                "share_of_matmul_peak": gflops * best[name]["pairs_per_second"] / peaks[way.precision],
                "loading_seconds_per_pair": loading[name],
                "rounds": measured[name],
            }
            for name, way in ways.items()
        },
        "gain": best["adnet"]["pairs_per_second"] / best["plain"]["pairs_per_second"],
    }


class _Wait(Callback):
    """Wait at the end of each step until the device has finished it, before `Throughput` reads the clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def on_train_batch_end(self, *_: Any) -> None:
        wait(self._device)


class _PlainModule(SegmentationModule):
    """A `SegmentationModule` that computes its steps in the given `way`."""

    way: Way

    def training_step(self, batch: TrainingPair, _: int) -> Tensor:
        anchor, frame = (self._as_input(batch[name]) for name in ("anchor", "frame"))
        if self.way.joint_encoder:
            logits = self.model(anchor, frame, batch.get("flow"))
        else:
            encoded = self.model.encode(frame, batch.get("flow"))
            X_0 = self.model.embed(anchor) if self.model.needs_anchor else encoded.embedding
            logits = self.model.segment(X_0, encoded)
        return total(upsampled_loss(self._loss, logits, batch["mask"].unsqueeze(1)))

    def _as_input(self, frames: Tensor) -> Tensor:
        return as_input(frames, self.model.dtype) if self.way.channels_last else frames.to(self.model.dtype).div(255)


def _fit(
    settings: DictConfig,
    dataset: VideoDataset,
    flow: SequenceFlow | None,
    model: ADNet,
    way: Way,
    warmup: int,
    steps: int,
    device: torch.device,
) -> dict[str, Any]:
    optim = settings.optim
    kind = SegmentationModule if way.joint_encoder and way.channels_last else _PlainModule
    module = kind(
        model,
        instantiate(optim.optimizer),
        instantiate(optim.schedule),
        optim.new_layers_lr,
        loss=instantiate(settings.loss),
    )
    if isinstance(module, _PlainModule):
        module.way = way
    if not way.channels_last:
        module.model.to(memory_format=torch.contiguous_format)
    if way.compiled:
        module.compile_network()
    throughput = Throughput(window=steps)
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if way.precision == "bf16" else settings.trainer.precision,
        max_steps=warmup + steps,
        limit_val_batches=0,
        logger=False,
        callbacks=[_Wait(device), throughput],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = _data(settings, dataset, flow, way, warmup + steps)
    with float32(tf32=way.precision == "tf32"):
        memory = memory_mib(device, lambda: trainer.fit(module, data))
    speed = dict(zip(("pairs_per_second", "data_wait"), throughput.means(), strict=True))
    return {**speed, "memory_mib": memory, "precision": way.precision, "workers": data.workers}


def _data(
    settings: DictConfig, dataset: VideoDataset, flow: SequenceFlow | None, way: Way, steps: int
) -> PairDataModule:
    # A partial, because Hydra would convert the datasets if they were its arguments.
    build = instantiate(
        settings.pairs, _partial_=True, epoch_steps=steps, augmentation={"reduced_decoding": way.reduced_decoding}
    )
    return build(train=dataset, val=dataset, flow=flow)


def _seconds_per_pair(data: PairDataModule, pairs: int = 24, rounds: int = 3) -> float:
    """Measure the time of one core to load a pair, in the best round."""
    stream = data.training_pairs(start=0, length=pairs)
    cv2.setNumThreads(0)  # as in a worker

    def seconds() -> float:
        started = time.process_time()
        for index in range(pairs):
            stream[index]
        return time.process_time() - started

    return min(seconds() for _ in range(rounds)) / pairs


if __name__ == "__main__":
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = hydra.compose("train", ["scale=lite", *sys.argv[2:]])
    write_json(Path(sys.argv[1]), result := measure(config))
    print(json.dumps(result, indent=1))
