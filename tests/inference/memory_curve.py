"""Memory over a long video, from file to masks and overlay: `python tests/inference/memory_curve.py [--frames 10000]`.

Prints this process's resident memory as the network takes a frame. A tiny network at a tiny size: what could grow is
whatever is kept of each frame, or of its optical flow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from adnet.data.pictures import Frame
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.predict_video import Outputs, predict
from adnet.models import ADNet, DeepLabV3
from adnet.video.file import VideoFile

sys.path.append(str(Path(__file__).parents[1]))

from videos import write_video


def resident() -> float:
    """MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def frames(number: int) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (64, 256, 3), np.uint8)
    return (still[:, index % 128 : index % 128 + 112] for index in range(number))


class Watched(VideoSegmenter):
    """Notes the memory at each frame."""

    def steps(self, frames: Iterable[Frame], **options: Any) -> Iterator[np.ndarray]:
        self.curve: list[float] = []
        for probability in super().steps(frames, **options):
            self.curve.append(resident())
            yield probability


def memory_curve(folder: Path, number: int) -> list[float]:
    """Resident memory in MiB at each of `number` frames."""
    torch.manual_seed(0)
    encoder, motion = (
        DeepLabV3("resnet10t", pretrained=False, aspp_rates=(1, 2), aspp_channels=8, embedding_channels=8)
        for _ in range(2)
    )
    segmenter = Watched(ADNet(encoder, "full_motion", head_channels=8, motion=motion), Protocol("memory"), (33, 57))
    video = VideoFile("long", write_video(folder / "long.mp4", frames(number)))
    done = predict(video, Outputs(folder / "out", overlay=True), lambda size: segmenter)  # noqa: ARG005
    assert done.frames == number
    return segmenter.curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    number = parser.parse_args().frames
    with TemporaryDirectory() as folder:
        curve = memory_curve(Path(folder), number)
    for frame in (1, 10, 100, *range(number // 10, number + 1, number // 10)):
        print(f"{frame:>7} frames {curve[frame - 1]:8.1f} MiB")
    slope = np.polyfit(np.arange(100, number), curve[100:], 1)[0]
    print(
        f"after the first hundred: {max(curve[100:]) - min(curve[100:]):.1f} MiB apart, {1000 * slope:+.2f} MiB per 1,000 frames"
    )


if __name__ == "__main__":
    main()
