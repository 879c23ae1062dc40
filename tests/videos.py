"""Small videos made on the fly, and a network that needs no time."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from adnet.models import ADNet, Encoded


def pictures(number: int, size: tuple[int, int] = (48, 80)) -> list[np.ndarray]:
    """No two alike, none like itself turned or mirrored: a red corner, a green one, and grey that grows by 5 a frame."""
    height, width = size
    frames = np.zeros((number, height, width, 3), np.uint8)
    frames[:] = 5 * np.arange(number)[:, None, None, None]
    frames[:, : height // 2, : width // 2, 0] = 255
    frames[:, height // 2 :, : width // 4, 1] = 255
    return list(frames)


def write_video(
    path: Path, frames: Iterable[np.ndarray], times: Sequence[float] | None = None, codec: str = "libx264"
) -> Path:
    """`times` in seconds; 25 frames a second by default."""
    clock = Fraction(1, 12800)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.time_base = stream.codec_context.time_base = clock
            stream.options = {"g": "5", "bf": "0", "crf": "10"}
        for index, image in enumerate(frames):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            image = np.ascontiguousarray(image)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = round((times[index] if times else index / 25) / clock)
            frame.time_base = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Of an MP4's only track: its header ends in the matrix and the size."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    content[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))


class InstantModel:
    """Foreground is what is brighter than the anchor is on average; the embedding is the frame at stride 8."""

    variant, needs_anchor, needs_flow, takes_several_anchors = "full", True, False, False
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, frames: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(frames))
        height, width = (side // 8 + 1 for side in frames.shape[2:])
        return adaptive_avg_pool2d(frames, (height, width))

    def encode(self, frames: torch.Tensor, flow: torch.Tensor | None = None) -> Encoded:
        return Encoded(self.embed(frames), motion=flow)

    def segment(self, anchor_embedding: torch.Tensor, frame: Encoded) -> torch.Tensor:
        embedding = frame.embedding
        assert anchor_embedding.shape[2:] == embedding.shape[2:]
        return 20 * (embedding - anchor_embedding.mean((1, 2, 3), keepdim=True)).mean(1, keepdim=True)

    logits: Any = ADNet.logits


class MotionModel(InstantModel):
    """Keeps the optical flow that it is given."""

    needs_flow = True

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[torch.Tensor] = []

    def encode(self, frames: torch.Tensor, flow: torch.Tensor | None = None) -> Encoded:
        assert flow is not None
        self.flows += flow
        return super().encode(frames, flow)
