"""Post-process the probabilities of a video."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from adnet.data.masks import Mask, Probability
from adnet.data.pictures import Frame

_OPENING = np.ones((15, 15), np.uint8)
_DILATION = np.ones((101, 101), np.uint8)


class Postprocess(typing.Protocol):
    """Any object with these two methods, e.g. `adnet.instance_pruning.rules.InstancePruning`."""

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        """Begin a video: called once, before its first frame.

        `video` is its name; `frames` lazily yields all its frames in time order, RGB uint8 `[H, W, 3]`.
        """

    def step(self, frame: str, probability: Probability) -> Probability:
        """Change the probability of a frame, float32 `[H, W]` in [0, 1]. Called once for each frame, in time order.

        `frame` is the name of the frame in its video (`"00012"`).
        """
        ...


def gate(logits: npt.NDArray[np.float32], previous: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Set logits far from the previous mask to 0, which is below the published threshold. The paper does not mention this step.

    Args:
        logits: `[H, W]`.
        previous: `[H, W]`, the mask of the frame before, BEFORE its own gate; None for the first frame.

    Logits are returned unchanged unless the mask has more than 5,000 and fewer than 100,000 pixels, whatever the size of the
    frame. The mask is opened with a square of 15 pixels, which removes specks, and dilated with one of 101.
    """
    if previous is None or not 5_000 < np.count_nonzero(previous) < 100_000:
        return logits
    opened = cv2.morphologyEx(previous.astype(np.uint8), cv2.MORPH_OPEN, _OPENING)
    gated: npt.NDArray[np.float32] = logits * cv2.dilate(opened, _DILATION)
    return gated


class PublishedGate:
    """The gate of the published evaluation (see `gate`) after any protocol: the probability becomes 0 far from the previous mask.

    `threshold`, the protocol's, determines the previous mask. Masks are the same as with `protocol.gate`, which sets logits to 0
    instead. Do not use both.
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
    """Several steps, one after the other, in the order of `steps`. Only one of them may read the frames."""

    def __init__(self, steps: Mapping[str, Postprocess]) -> None:
        self.steps = steps

    def start(self, video: str, frames: Iterable[Frame]) -> None:
        for step in self.steps.values():
            step.start(video, frames)

    def step(self, frame: str, probability: Probability) -> Probability:
        for step in self.steps.values():
            probability = step.step(frame, probability)
        return probability
