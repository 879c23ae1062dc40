"""Memory over a long video, from file to masks and overlay: `python tests/inference/memory_curve.py [--frames 2000] [--way ...]`.

Prints this process's resident memory when it reads a frame. A tiny network at a tiny size: what could grow is whatever is
kept of each frame, or of its optical flow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

from adnet.data.flow_folder import FlowFolder
from adnet.data.masks import Probability
from adnet.data.pictures import Frame
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.predict_videos import Outputs, predict
from adnet.models import ADNet, DeepLabV3
from adnet.video.file import VideoFile, VideoFrame

sys.path.append(str(Path(__file__).parents[1]))

from videos import write_video

SIZE = (120, 214)
WAYS = ("file", "live", "postprocess", "flow_folder", "resumed")


def resident() -> float:
    """MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def frames(number: int) -> Iterator[Frame]:
    height, width = SIZE
    rng = np.random.default_rng(0)
    still = cv2.resize(rng.integers(0, 256, (height // 4, 128, 3), np.uint8), (512, height))
    return (still[:, index % 256 : index % 256 + width] for index in range(number))


class Watched(VideoFile):
    """Notes the memory at each frame that is read."""

    live = False

    def frames(self) -> Iterator[VideoFrame]:
        curve: list[float] = []
        object.__setattr__(self, "curve", curve)
        for frame in super().frames():
            curve.append(resident())
            yield frame


class Mirrored:
    """A postprocess that needs nothing of the frames."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:  # noqa: ARG002
        for _ in frames:
            pass

    def step(self, frame: str, probability: Probability) -> Probability:  # noqa: ARG002
        return probability[:, ::-1]


def memory_curve(folder: Path, number: int, way: str = "file") -> list[float]:
    """Resident memory in MiB at each of `number` frames."""
    torch.manual_seed(0)
    encoder, motion = (
        DeepLabV3("resnet10t", pretrained=False, aspp_rates=(1, 2), aspp_channels=8, embedding_channels=8)
        for _ in range(2)
    )
    network = ADNet(encoder, "full_motion", head_channels=8, motion=motion)
    segmenter = VideoSegmenter(network, Protocol("memory"), (33, 57))
    video: Any = Watched("long", write_video(folder / "long.mp4", frames(number)))
    object.__setattr__(video, "live", way == "live")
    outputs, more = Outputs(folder / "out", overlay=True), dict[str, Any]()
    if way == "postprocess":
        more["postprocess"] = Mirrored()
    elif way == "flow_folder":
        (folder / "flow" / "long").mkdir(parents=True)
        for index in range(1, number):
            file = folder / "flow" / "long" / f"{index:05d}.flo"
            cv2.writeOpticalFlow(str(file), np.zeros((*SIZE, 2), np.float32))
        flow = FlowFolder(folder / "flow", camera=False)
        more["flow_of"] = lambda frame: flow.of_frame("long", frame.name, SIZE)
    elif way == "resumed":
        more["resume"] = True
        predict(video, Outputs(folder / "out"), lambda size: segmenter)  # noqa: ARG005
        for index in range(0, number, 2):
            (folder / "out" / "masks" / f"{index:05d}.png").unlink()
    done = predict(video, outputs, lambda size: segmenter, **more)  # noqa: ARG005
    assert done.frames == number
    return list(video.curve)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2_000)
    parser.add_argument("--way", choices=WAYS, default="file")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        curve = memory_curve(Path(folder), given.frames, given.way)
    first, all_ = max(curve[:100]), max(curve)
    print(
        f"{given.way}: at most {first:.0f} MiB in the first 100 frames, {all_:.0f} in all {given.frames:,}: {all_ - first:+.1f}"
    )


if __name__ == "__main__":
    main()
