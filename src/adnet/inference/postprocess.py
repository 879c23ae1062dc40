"""What may be done to the probabilities of a video after the network."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.sequence import Frame, Mask, Probability

_OPENING = np.ones((15, 15), np.uint8)
_DILATION = np.ones((101, 101), np.uint8)


class Postprocess(typing.Protocol):
    """Any object with these two methods, e.g. `adnet.instance_pruning.rules.InstancePruning`."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Once before a video's first frame.

        `video` is its name; `frames` are all its frames in time order, RGB uint8 `[H, W, 3]`, read as they are asked for,
        once.
        """

    def step(self, frame: str, probability: Probability) -> Probability:
        """Once for every frame, in time order: float32 `[H, W]` in [0, 1] -> the same.

        `frame` is the frame's name in its video (`"00012"`).
        """
        ...


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits far from the previous mask to 0, which is below the published threshold. The paper doesn't mention this step.

    Args:
        logits: `[H, W]`.
        previous: `[H, W]`, the mask of the frame before as it was BEFORE its own gate; None at the first frame.

    Nothing happens unless the mask has more than 5,000 and fewer than 100,000 pixels, whatever the size of the frame.
    Else it is opened with a square of 15 pixels, which removes specks, and dilated with one of 101.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated


class PublishedGate:
    """The gate of the published evaluation (see `gate`) behind any protocol: far from the previous mask
    the probability becomes 0.

    `threshold` is where probabilities are cut, as in the protocol: it gives the previous mask. Masks are those of
    `protocol.gate`, which sets logits to 0 instead; don't use both.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._previous: Mask | None = None

    def start(self, video: str, frames: Iterable[Frame]) -> None:  # noqa: ARG002
        self._previous = None

    def step(self, frame: str, probability: Probability) -> Probability:  # noqa: ARG002
        gated = gate(probability, self._previous)
        self._previous = probability > self.threshold
        return gated


class Chain:
    """Several, one after the other, in the order of `steps`. Frames can be gone through once: one of them may read them."""

    def __init__(self, steps: Mapping[str, Postprocess]) -> None:
        self.steps = steps

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        for step in self.steps.values():
            step.start(video, frames)

    def step(self, frame: str, probability: Probability) -> Probability:
        for step in self.steps.values():
            probability = step.step(frame, probability)
        return probability
