"""Measure the seconds per frame of each backend, and of the published evaluation beside them.

    python experiments/speed/published.py OUTPUT [model=full] [OVERRIDES of adnet.benchmark what=inference]

Without `inference.checkpoint=`, the network is that of `model` (ResNet-101), with random weights, at 481 x 857.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from adnet.benchmark.inference import run
from adnet.data.pairs import to_tensor
from adnet.data.pictures import read_frame
from adnet.models import BRANCHES, ADNet, Encoded, upsample
from adnet.models.checkpoint import write_checkpoint
from adnet.models.depthwise import DepthwiseConv2d
from adnet.shared.command import conf_dir
from adnet.shared.files import write_json


def measure(overrides: Sequence[str]) -> dict[str, Any]:
    """Measure with these overrides of `adnet.benchmark what=inference` and of `model`; print and return the results."""
    ours = [word for word in overrides if not word.startswith("model")]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"), TemporaryDirectory() as scratch:
        cfg = hydra.compose("benchmark", ["what=inference", *ours])
        if cfg.inference.checkpoint is None:
            cfg.inference.checkpoint = str(Path(scratch) / "random.ckpt")
            model = hydra.compose("train", [word for word in overrides if word.startswith("model")]).model
            config: Any = OmegaConf.to_container(model, resolve=True)
            frames = instantiate(cfg.data).sequences[0].frames[: cfg.inference.frames + 1]
            random_checkpoint(config, tuple(cfg.inference.size or (481, 857)), frames, Path(cfg.inference.checkpoint))
        return run(cfg, {"published": PublishedWay})


class PublishedWay:
    """The weights of `model` in plain modules: batch norms not folded, NCHW order, an explicit softmax matrix.

    As in the published evaluation, `encode` embeds the anchor anew for each frame, and computes the auxiliary head (with random
    weights if `model` has none), whose result is ignored.
    """

    def __init__(self, model: ADNet) -> None:
        self.model = copy.deepcopy(model).eval().to(memory_format=torch.contiguous_format)
        for conv in self.model.modules():
            if isinstance(conv, DepthwiseConv2d):
                conv.__class__ = nn.Conv2d  # type: ignore[assignment]
        self.device = model.device
        self.needs_flow = model.needs_flow
        self.aux = model.aux or nn.Sequential(
            nn.Conv2d(model.encoder.stage_channels[0], 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.LeakyReLU(0.01),
            nn.Conv2d(512, 1, 1),
        )
        self.aux.eval().to(model.device)
        self._anchor: Tensor | None = None

    def embed(self, frames: Tensor) -> Tensor:
        """Embed the anchor `[B, 3, H, W]` in [0, 1]: X_0 `[B, C, h, w]`."""
        self._anchor = frames if self.model.needs_anchor else None
        return self._encode(frames).embedding

    def encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        """Encode frames and their optical flow, both `[B, 3, H, W]`, for `segment`."""
        if self._anchor is not None:
            self._encode(self._anchor)
        return self._encode(frames, flow)

    def _encode(self, frames: Tensor, flow: Tensor | None = None) -> Encoded:
        *shallow, middle, last = self.model.encoder.features(frames.contiguous())
        self.aux(middle)
        return self.model.with_motion(self.model.encoder.embed(last), shallow, frames, flow)

    def segment(self, anchor_embedding: Tensor, frame: Encoded) -> Tensor:
        """Compute logits `[B, 1, h, w]` from X_0 `[B, C, h, w]` and the encoded frame."""
        embedding = frame.embedding
        if not self.model.branches:
            return self.model.segment(embedding, frame)
        explicit = {
            "intra_frame": (embedding, embedding),
            "anchor_diffusion": (anchor_embedding, embedding),
            "cross": (embedding, anchor_embedding),
        }
        outputs = [
            _attention(*explicit[branch]) if branch in explicit else BRANCHES[branch].output(anchor_embedding, frame)
            for branch in self.model.branches
        ]
        logits: Tensor = self.model.head(torch.cat(outputs, dim=1))
        return logits if self.model.decoder is None else self.model.decoder(logits, frame.shallow)


def _attention(query: Tensor, key: Tensor) -> Tensor:
    rows, columns = query.flatten(2).transpose(1, 2), key.flatten(2)
    transition = torch.softmax(rows @ columns / query.shape[1] ** 0.5, dim=-1)
    return (transition @ columns.transpose(1, 2)).transpose(1, 2).reshape(query.shape)


@torch.no_grad()
def random_checkpoint(config: dict[str, Any], size: tuple[int, int], frames: Sequence[Path], path: Path) -> None:
    """Write a checkpoint of a network with random weights, such that masks of different implementations can be compared.

    New batch norms have no statistics, and the last scale of a residual block is 0. Here, the statistics are those of two real
    frames, and that scale is 0.2 (with 1, rounding errors grow until masks differ). The output's bias makes half of the last
    frame foreground, at the measured size, because the level of the logits depends on it.
    """
    torch.manual_seed(0)
    for encoder in {"encoder", "motion"} & set(config):
        config[encoder]["pretrained"] = False
    model: ADNet = instantiate(config)
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
    write_checkpoint(path, model, size, overwrite=True)


def main() -> None:
    write_json(Path(sys.argv[1]), measure(sys.argv[2:]))


if __name__ == "__main__":
    main()
