"""Measure the seconds per frame of each stage, for each backend and for the published evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from adnet.backends.export import export_model, synthetic_inputs
from adnet.backends.load import BACKENDS, ON_CPU, describe, load_backend
from adnet.backends.runtime import SegmentationModel
from adnet.benchmark.device import computing, matmul_peak, memory_mib, precisions, wait
from adnet.benchmark.device import describe as describe_device
from adnet.benchmark.published_implementation import PublishedWay
from adnet.data.flow import OpticalFlow, to_flow_input
from adnet.data.masks import Mask, write_mask
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame, read_frame
from adnet.errors import UserError
from adnet.inference.predict_video import Outputs, predict
from adnet.inference.protocol import Protocol
from adnet.inference.segmenter import PRECISIONS, VideoSegmenter
from adnet.models import ADNet, model_cost, upsample
from adnet.models.checkpoint import load_checkpoint
from adnet.shared.machine import usable_device
from adnet.video.sources import Images

PAPER = "the paper's: 4 frames/s at 480 x 854 on a Titan X (Section 4)"
_STAGES = ("decode", "resize", "flow", "embed", "fusion", "upsample", "post-process", "write")
_AGREE = 1e-3
"""Share of pixels that may differ between two ways of computing the same masks in float32."""


@dataclass
class _Measured:
    """A way to segment a frame, and what was measured of it. `anchor_again`: embed the anchor again for each frame."""

    model: SegmentationModel | PublishedWay
    anchor_again: bool = False
    precision: str = "fp32"
    seconds: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in _STAGES})
    anchor: Tensor | None = None
    before: Frame | None = None
    masks: list[Mask] = field(default_factory=list)
    memory: float | None = None
    overlapped: float | None = None  # frames per second

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        wait(self.model.device)
        self.seconds[name].append(time.perf_counter() - started)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Measure what `conf/benchmark.yaml` says in `inference`; print and return the results."""
    wanted, device = cfg.inference, usable_device(cfg.device or "cpu")
    kinds = precisions(wanted.precisions, device)
    if unknown := [name for name in wanted.backends if name not in BACKENDS]:
        raise UserError(f"inference.backends names {unknown[0]!r}: choose from {', '.join(BACKENDS)}")
    sequence = instantiate(cfg.data).sequences[0]
    frames = sequence.frames[: wanted.frames + 1]
    with TemporaryDirectory() as scratch:
        checkpoint = Path(wanted.checkpoint or _random_checkpoint(cfg, Path(scratch), frames))
        model, size = load_checkpoint(checkpoint)
        size = tuple(wanted.size or size)
        ways = _ways(cfg, model.to(device), checkpoint, Path(scratch), size, kinds)
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
            way.overlapped = _overlapped(way, frames, size, Path(scratch) / "overlapped")
        best = {kind: max(measured) for kind, measured in peaks.items()}
        return _report(ways, model, size, best, bool(wanted.checkpoint), describe_device(device))


def _ways(
    cfg: DictConfig, model: ADNet, checkpoint: Path, scratch: Path, size: tuple[int, int], kinds: list[str]
) -> dict[str, _Measured]:
    ways = {"published": _Measured(PublishedWay(model), anchor_again=model.needs_anchor)}
    for name in cfg.inference.backends:
        if name in ON_CPU:
            if model.device.type == "cpu":
                library, _, int8 = name.partition("_")
                given = synthetic_inputs(cfg.inference.calibration_frames, size, model.needs_flow) if int8 else []
                ways[name] = _Measured(export_model(model, size, scratch / name, library, given, describe(checkpoint)))
        else:
            for kind in kinds:
                named = name if kind == "fp32" else f"{name} {kind}"
                ways[named] = _Measured(load_backend(checkpoint, name, model.device)[0], precision=kind)
    return ways


def _frame(way: _Measured, *arguments: Any) -> None:
    with torch.inference_mode(), computing(way.model.device, way.precision):
        _segment(way, *arguments)


def _segment(way: _Measured, anchor: Path, frame: Path, size: tuple[int, int], scratch: Path) -> None:
    """Segment a frame, from JPEG to PNG. If the anchor is embedded again, the first stages include its share."""

    def resized(image: Any) -> Tensor:
        return upsample(to_tensor(image).to(way.model.device)[None].float() / 255, size)

    with way.stage("decode"):
        image = read_frame(frame)
        anchor_image = read_frame(anchor) if way.anchor_again or way.anchor is None else None
    with way.stage("resize"):
        view = resized(image)
        anchor_view = resized(anchor_image) if anchor_image is not None else None
    flow = None
    if way.model.needs_flow:
        with way.stage("flow"):
            vectors = OpticalFlow()(image, image if way.before is None else way.before)
            flow = upsample(to_flow_input(vectors)[None].to(way.model.device), size)
        way.before = image
    if anchor_view is not None and not way.anchor_again:
        way.anchor = way.model.embed(anchor_view)
    with way.stage("embed"):
        encoded = way.model.encode(view, flow)
        if anchor_view is not None and way.anchor_again:
            way.anchor = way.model.embed(anchor_view)
    assert way.anchor is not None
    with way.stage("fusion"):
        logits = way.model.segment(way.anchor, encoded)
    with way.stage("upsample"):
        logits = upsample(logits.float(), image.shape[:2])
    with way.stage("post-process"):
        mask: Mask = logits[0, 0].sigmoid().cpu().numpy() > 0.5
    with way.stage("write"):
        write_mask(scratch / "mask.png", mask)
    way.masks.append(mask)


def _overlapped(way: _Measured, frames: tuple[Path, ...], size: tuple[int, int], folder: Path) -> float | None:
    """Return the frames per second of `predict`, whose stages overlap; None for the published way, which it can't run."""
    if isinstance(way.model, PublishedWay):
        return None
    precision = way.precision if way.precision in PRECISIONS else "fp32"  # tf32 is a setting of `computing`
    segmenter = VideoSegmenter(way.model, Protocol("benchmark"), size, precision=precision)
    with computing(way.model.device, way.precision):
        done = predict(Images("frames", frames, fps=24), Outputs(folder), lambda _: segmenter)
    return done.frames / done.seconds


def _report(
    ways: dict[str, _Measured],
    model: ADNet,
    size: tuple[int, int],
    peaks: dict[str, float],
    trained: bool,
    device: dict[str, Any],
) -> dict[str, Any]:
    cost = model_cost(model, size)
    stages = {
        name: {stage: median(taken or [0.0]) for stage, taken in way.seconds.items()} for name, way in ways.items()
    }
    totals = {name: sum(taken.values()) for name, taken in stages.items()}
    differing = {name: _differing(ways["published"].masks, way.masks) for name, way in ways.items()}
    print(f"{model.variant} on {model.encoder.backbone_name}: {cost}")
    print(
        f"{device['device']}, {torch.get_num_threads()} threads; matrix multiply at "
        + ", ".join(f"{peak:.0f} GFLOP/s ({kind})" for kind, peak in peaks.items())
        + f"; clock {device['clock_mhz'] or 'unknown'} MHz; {'trained' if trained else 'random'} weights"
    )
    print(f"\n{'':14}" + "".join(f"{stage:>13}" for stage in (*_STAGES, "frame")) + "  ms")
    for name, taken in stages.items():
        print(f"{name:14}" + "".join(f"{1000 * s:13.1f}" for s in (*taken.values(), totals[name])))
    print(
        f"\n{'':14}{'frames/s':>13}{'overlapped':>13}{'x published':>13}{'of peak':>13}{'memory MiB':>13}{'pixels differing':>19}"
    )
    result: dict[str, Any] = {"variant": model.variant, "backbone": model.encoder.backbone_name, "size": list(size)}
    result |= {"gflops": cost.gflops, "parameters": cost.parameters, "threads": torch.get_num_threads()}
    result |= device | {"precisions_matmul_gflops_per_second": peaks}
    result |= {"matmul_gflops_per_second": peaks["fp32"], "trained": trained, "paper": PAPER, "ways": {}}
    for name, way in ways.items():
        # Embedding the anchor again is twice the work. The auxiliary head is not counted.
        share = (
            cost.gflops
            / peaks[way.precision]
            / (stages[name]["embed"] / (1 + way.anchor_again) + stages[name]["fusion"])
        )
        ratio = totals["published"] / totals[name]
        memory = "" if way.memory is None else f"{way.memory:.0f}"
        overlapped = "" if way.overlapped is None else f"{way.overlapped:.3g}"
        print(f"{name:14}{1 / totals[name]:13.3g}{overlapped:>13}", end="")
        print(f"{ratio:13.2f}{share:13.0%}{memory:>13}{differing[name]:19.4%}")
        result["ways"][name] = {
            "seconds": stages[name] | {"frame": totals[name]},
            "frames_per_second": 1 / totals[name],
            "overlapped_frames_per_second": way.overlapped,
            "times_published": ratio,
            "share_of_matmul_peak": share,
            "memory_mib": way.memory,
            "precision": way.precision,
            "pixels_differing": differing[name],
        }
    print(f"\n{PAPER}")
    for name, share in differing.items():
        if share > _AGREE and ways[name].precision == "fp32" and not name.endswith("int8"):
            raise UserError(
                f"masks of {name} differ from the published way's at {share:.2%} of pixels, more than {_AGREE:.1%}"
            )
    return result


def _differing(masks: list[Mask], others: list[Mask]) -> float:
    return float(np.mean([np.mean(mask != other) for mask, other in zip(masks, others, strict=True)]))


@torch.no_grad()
def _random_checkpoint(cfg: DictConfig, folder: Path, frames: tuple[Path, ...]) -> Path:
    """Write a checkpoint of `cfg.model` with random weights, such that masks of different implementations can be compared.

    New batch norms have no statistics, and the last scale of a residual block is 0. Here, the statistics are those of two real
    frames, and that scale is 0.2 (with 1, rounding errors grow until masks differ). The output's bias makes half of the last
    frame foreground, at the measured size, because the level of the logits depends on it.
    """
    torch.manual_seed(0)
    config: Any = OmegaConf.to_container(cfg.model, resolve=True)
    for encoder in {"encoder", "motion"} & set(config):
        config[encoder]["pretrained"] = False
    model: ADNet = instantiate(config)
    size = tuple(cfg.inference.size or (481, 857))
    views = torch.cat([to_tensor(read_frame(path))[None].float() / 255 for path in (frames[0], frames[-1])])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.masked_fill_(module.weight == 0, 0.2)
            module.momentum = 1.0
        elif isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    small = upsample(views, (241, 433))
    model.train()(small, small)
    logits = model.eval()(*upsample(views, size)[:, None])
    last: nn.Module = model.encoder.project
    if model.branches or model.decoder is not None:
        last = [*model.head.modules()][-1] if model.decoder is None else model.decoder.logit
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    last.bias -= logits.median()
    path = folder / "random.ckpt"
    torch.save(
        {
            "state_dict": {f"model.{key}": value for key, value in model.state_dict().items()},
            "hyper_parameters": {"model": config, "test_size": list(size)},
        },
        path,
    )
    return path
