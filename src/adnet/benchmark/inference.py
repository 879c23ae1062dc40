"""Measure the seconds per frame of each stage, for each backend."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from adnet.backends.load import load_backend, on_cpu
from adnet.backends.runtime import SegmentationModel
from adnet.benchmark.device import computing, device_name, matmul_peak, memory_mib, precisions, wait
from adnet.data.flow import OpticalFlow, to_flow_input
from adnet.data.masks import Mask, write_mask
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame, read_frame
from adnet.errors import UserError
from adnet.inference.predict_videos import Outputs, predict
from adnet.inference.protocol import Protocol
from adnet.inference.segmenter import PRECISIONS, VideoSegmenter
from adnet.models import ADNet, model_cost, upsample
from adnet.models.checkpoint import load_checkpoint
from adnet.report.table import Column, Row, Table, to_markdown
from adnet.shared.machine import usable_device
from adnet.video.sources import Images
from adnet.weights.pretrained import locate

PAPER = "the paper's: 4 frames/s at 480 x 854 on a Titan X (Section 4)"
_STAGES = ("decode", "resize", "flow", "embed", "fusion", "upsample", "post-process", "write")
_AGREE = 1e-3
"""Share of pixels that may differ between two ways of computing the same masks in float32."""


@dataclass
class _Measured:
    """A way to segment a frame, and what was measured of it."""

    model: Any  # a SegmentationModel, or another object with its `encode`, `embed` and `segment`
    precision: str = "fp32"
    seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in _STAGES})
    anchor: Tensor | None = None
    before: Frame | None = None
    masks: list[Mask] = field(default_factory=list)
    memory: float | None = None
    overlapped: float | None = None  # frames per second
    overlapped_memory: float | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        wait(self.model.device)
        self.seconds[name].append(time.perf_counter() - started)

    def medians(self) -> dict[str, float]:
        return {stage: median(taken or [0.0]) for stage, taken in self.seconds.items()}


def run(cfg: DictConfig, others: Mapping[str, Callable[[ADNet], Any]] | None = None) -> dict[str, Any]:
    """Measure what `conf/benchmark.yaml` says in `inference`; print and return the results.

    `others` make of the network further objects with its `encode`, `embed`, `segment`, `device` and `needs_flow`. They
    come first, and the first of all is what the rest is compared with.
    """
    wanted, device = cfg.inference, usable_device(cfg.device or "cpu")
    kinds = precisions(wanted.precisions, device)
    sequence = instantiate(cfg.data).sequences[0]
    frames = sequence.frames[: wanted.frames + 1]
    with TemporaryDirectory() as scratch:
        checkpoint = locate(wanted.checkpoint)
        model, size = load_checkpoint(checkpoint)
        size = tuple(wanted.size or size)
        ways = {name: _Measured(make(model.to(device))) for name, make in (others or {}).items()}
        for name in wanted.backends:
            exported = name in on_cpu()
            if exported and device.type != "cpu":
                continue
            for kind in ["fp32"] if exported else kinds:
                named = name if kind == "fp32" else f"{name} {kind}"
                ways[named] = _Measured(load_backend(checkpoint, name, device)[0], precision=kind)
        if not ways:
            raise UserError(f"inference.backends: none of them runs on {device.type}; give torch")
        peaks = {kind: [matmul_peak(device, kind)] for kind in {"fp32", *kinds}}
        for way in ways.values():  # warm up: the first pass lays out weights and compiles
            way.memory = memory_mib(device, partial(_frame, way, frames[0], frames[0], size, Path(scratch)))
            way.masks.clear()
            way.seconds = {stage: [] for stage in _STAGES}
        for frame in frames[1:]:
            for way in ways.values():
                _frame(way, frames[0], frame, size, Path(scratch))
            for kind, measured in peaks.items():
                measured.append(matmul_peak(device, kind))
        for way in ways.values():
            if isinstance(way.model, SegmentationModel):  # `predict` can't run others
                _predict(way, frames[:2], size, Path(scratch) / "warm_up")
                all_frames = partial(_predict, way, frames, size, Path(scratch) / "overlapped")
                way.overlapped_memory = memory_mib(device, all_frames)
        best = {kind: max(measured) for kind, measured in peaks.items()}
        return _report(ways, model, size, best, device_name(device))


def _frame(way: _Measured, anchor: Path, frame: Path, size: tuple[int, int], scratch: Path) -> None:
    def resized(image: Frame) -> Tensor:
        return upsample(to_tensor(image).to(way.model.device)[None].float() / 255, size)

    with torch.inference_mode(), computing(way.model.device, way.precision):
        with way.stage("decode"):
            image = read_frame(frame)
        with way.stage("resize"):
            view = resized(image)
        flow = None
        if way.model.needs_flow:
            with way.stage("flow"):
                vectors = OpticalFlow()(image, image if way.before is None else way.before)
                flow = upsample(to_flow_input(vectors)[None].to(way.model.device), size)
            way.before = image
        if way.anchor is None:
            way.anchor = way.model.embed(resized(read_frame(anchor)))
        with way.stage("embed"):
            encoded = way.model.encode(view, flow)
        with way.stage("fusion"):
            logits = way.model.segment(way.anchor, encoded)
        with way.stage("upsample"):
            logits = upsample(logits.float(), image.shape[:2])
        with way.stage("post-process"):
            mask: Mask = logits[0, 0].sigmoid().cpu().numpy() > 0.5
        with way.stage("write"):
            write_mask(scratch / "mask.png", mask)
        way.masks.append(mask)


def _predict(way: _Measured, frames: tuple[Path, ...], size: tuple[int, int], folder: Path) -> None:
    assert isinstance(way.model, SegmentationModel)
    precision = way.precision if way.precision in PRECISIONS else "fp32"  # tf32 is a setting of `computing`
    segmenter = VideoSegmenter(way.model, Protocol("benchmark"), size, precision=precision)
    with computing(way.model.device, way.precision):
        done = predict(Images("frames", frames, fps=24), Outputs(folder), lambda _: segmenter)
    way.overlapped = done.frames / done.seconds


def _report(
    ways: dict[str, _Measured], model: ADNet, size: tuple[int, int], peaks: dict[str, float], device: str
) -> dict[str, Any]:
    cost, threads = model_cost(model, size), torch.get_num_threads()
    first = next(iter(ways))
    of_first = sum(ways[first].medians().values())
    result: dict[str, Any] = {"variant": model.variant, "backbone": model.encoder.backbone_name, "size": list(size)}
    result |= {"gflops": cost.gflops, "parameters": cost.parameters, "threads": threads}
    result |= {"device": device, "precisions_matmul_gflops_per_second": peaks}
    result |= {"matmul_gflops_per_second": peaks["fp32"], "paper": PAPER, "ways": {}}
    stages: list[Row] = []
    totals: list[Row] = []
    for name, way in ways.items():
        seconds = way.medians()
        frame = sum(seconds.values())
        total: dict[str, Any] = {
            "frames_per_second": 1 / frame,
            "overlapped_frames_per_second": way.overlapped,
            f"times_{first}": of_first / frame,
            "share_of_matmul_peak": cost.gflops / peaks[way.precision] / (seconds["embed"] + seconds["fusion"]),
            "memory_mib": way.memory,
            "overlapped_memory_mib": way.overlapped_memory,
            "precision": way.precision,
            "pixels_differing": float(
                np.mean([np.mean(a != b) for a, b in zip(ways[first].masks, way.masks, strict=True)])
            ),
        }
        result["ways"][name] = {"seconds": seconds | {"frame": frame}, **total}
        milliseconds: Row = {Column(stage, digits=1): 1000 * taken for stage, taken in seconds.items()}
        stages.append({Column("ms"): name} | milliseconds | {Column("frame", digits=1): 1000 * frame})
        totals.append({Column(""): name} | {Column(key, digits=4): value for key, value in total.items()})
    speeds = ", ".join(f"{peak:.0f} GFLOP/s ({kind})" for kind, peak in peaks.items())
    print(f"{model.variant} on {model.encoder.backbone_name}: {cost}")
    print(f"{device}, {threads} threads; matrix multiply at {speeds}\n")
    print(to_markdown(Table.of("stages", "One stage after the other, medians over frames", stages)))
    print(to_markdown(Table.of("totals", PAPER, totals)))
    for name, way in ways.items():
        differing = result["ways"][name]["pixels_differing"]
        if differing > _AGREE and way.precision == "fp32" and not name.endswith("int8"):
            raise UserError(f"masks of {name} and {first} differ at {differing:.2%} of pixels, more than {_AGREE:.1%}")
    return result
