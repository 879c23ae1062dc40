"""How frames are tested (Section 4, Inference): scales, mirror images, averaging and the threshold."""

from dataclasses import asdict, dataclass
from typing import Any

from adnet.errors import UserError
from adnet.shared.value_types import Proportion

_CHOICES = {"average": ("probability", "logits"), "resize": ("aligned", "opencv"), "anchors": ("first", "previous")}


@dataclass(frozen=True)
class Protocol:
    """How a frame is tested.

    Args:
        name: part of the name of the evaluation's folder.
        scales: factors of the test size.
        mirror: test the mirrored frame, too.
        threshold: pixels with a higher probability are foreground.
        average: what is averaged over scales and mirror images: `probability` (the paper) or `logits` (the published code).
        gate: apply `adnet.inference.postprocess.gate`; for averaged logits only.
        resize: how frames are resized to the test size: `aligned` (bilinear with aligned corners, as inside the network) or
            `opencv` (bilinear on 8-bit values with half-pixel centres, as in the published code).
        anchors: `first` (the paper), `previous` (the frame before), or both for a variant that takes several anchors.
        smooth: average probabilities over time, see `adnet.inference.smoothing`. The average uses OpenCV's optical flow, even if
            the network uses none or reads flow from files.
        refine: align the averaged probability with the frame's outlines, see `adnet.inference.postprocess.guided_filter`.

    Raises UserError for an unknown choice, no scales, a scale that isn't above 0, a gate on averaged probabilities, and
    `smooth` or `refine` on averaged logits.

    Examples:
        >>> Protocol("mine", scales=(0.75, 1.0), mirror=True).as_json()["scales"]
        [0.75, 1.0]
    """

    name: str
    scales: tuple[float, ...] = (1.0,)
    mirror: bool = False
    threshold: Proportion = 0.5
    average: str = "probability"
    gate: bool = False
    resize: str = "aligned"
    anchors: tuple[str, ...] = ("first",)
    smooth: bool = False
    refine: bool = False

    def __post_init__(self) -> None:
        given = {"average": [self.average], "resize": [self.resize], "anchors": list(self.anchors)}
        for field, values in given.items():
            if not values or not set(values) <= set(_CHOICES[field]):
                raise UserError(f"protocol.{field}={getattr(self, field)!r}: choose from {', '.join(_CHOICES[field])}")
        if not self.scales or min(self.scales) <= 0:
            raise UserError(f"protocol.scales is {list(self.scales)}; give one or more above 0, such as [0.75,1.0,1.5]")
        if self.gate and self.average != "logits":
            raise UserError("protocol.gate works on averaged logits: set protocol.average=logits")
        for field in ("smooth", "refine"):
            if getattr(self, field) and self.average != "probability":
                raise UserError(f"protocol.{field} works on averaged probabilities: set protocol.average=probability")

    def as_json(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON; `smooth` and `refine` only if they are on, because older files lack them."""
        settings = asdict(self) | {"scales": list(self.scales), "anchors": list(self.anchors)}
        return {key: value for key, value in settings.items() if value or key not in ("smooth", "refine")}

    @property
    def stateful(self) -> bool:
        """Whether a result depends on earlier frames, so that a video must be segmented from its start."""
        return self.gate or "previous" in self.anchors


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Scale a test size on its own grid, see `_stride`: to the nearest 16k + 1, or down to 8k + 1.

    The published evaluation uses 8k + 1: 857x481 becomes 641x353 at 0.75 and 1281x721 at 1.5.
    """
    if _stride(size) == 16:
        height, width = (16 * round((side - 1) * scale / 16) + 1 for side in size)
    else:
        height, width = ((int(side * scale) - 1) // 8 * 8 + 1 for side in size)
    return height, width


def fitted_size(size: tuple[int, int], frame_size: tuple[int, int]) -> tuple[int, int]:
    """Fit a test size to frames of another aspect: about the area of `size`, the aspect of `frame_size`, on the grid of `size`.

    All sizes are (height, width) in pixels. A phone's 1920x1080 gets 337x193 if 1080x1920 gets 193x337.
    """
    stride = _stride(size)
    stretch = (frame_size[0] * size[1] / (frame_size[1] * size[0])) ** 0.5
    height, width = (stride * max(round((side - 1) / stride), 1) + 1 for side in (size[0] * stretch, size[1] / stretch))
    return height, width


def _stride(size: tuple[int, int]) -> int:
    """Return 16 for sides of 16k + 1, otherwise 8: sizes derived from a test size stay on its grid.

    With aligned corners, a grid of stride s meets pixels exactly if sides are sk + 1. At other sizes, features of output
    stride 16 are up to half a cell off: 257x457 instead of 257x449 costs such a network 2.4 J.
    """
    return 16 if all(side % 16 == 1 for side in size) else 8
