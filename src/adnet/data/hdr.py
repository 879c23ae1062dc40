"""Show high dynamic range (PQ or HLG, ITU-R BT.2100) as ordinary screens do."""

from functools import cache

import numpy as np
import numpy.typing as npt

WHITE = 203.0  # candelas per square metre of a white page (ITU-R BT.2408), which becomes about 224 of 255

PEAK = 1000.0  # candelas per square metre that become 255, as does everything brighter

PQ, HLG = 16, 18
"""Transfer characteristics, as H.273 numbers them."""

_KNEE = 0.5  # of WHITE; what is darker keeps its luminance
_TO_BT709 = np.array(  # from BT.2020's primaries (ITU-R BT.2087)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020's primaries


def tone_mapped(image: npt.NDArray[np.uint16], transfer: int) -> npt.NDArray[np.uint8]:
    """Convert `[H, W, 3]` with BT.2020's primaries, 16 bits a channel, to RGB uint8 `[H, W, 3]` for an ordinary screen.

    `transfer` is `PQ` or `HLG`. Up to half of `WHITE`, luminances are kept; above, the brightest channel is compressed so that
    `PEAK` becomes 255, with the other two in proportion.
    """
    light = _light(transfer)[image]
    if transfer == HLG:  # from the scene's light to the screen's
        light *= (light @ _LUMINANCE)[..., None] ** 0.2 * (PEAK / WHITE)
    light = np.maximum(light @ _TO_BT709.T, 0)
    brightest = light.max(axis=-1, keepdims=True)
    over = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    most = (PEAK / WHITE - _KNEE) / (1 - _KNEE)
    # Reinhard et al., SIGGRAPH 2002, Eq. 4, above the knee: its slope there is 1, and `most` becomes 1.
    compressed = np.minimum(brightest, _KNEE) + (1 - _KNEE) * over * (1 + over / most**2) / (1 + over)
    light *= compressed / np.maximum(brightest, 1e-6)
    return _screen()[np.rint(np.minimum(light, 1) * 65535).astype(np.uint16)]


@cache
def _light(transfer: int) -> npt.NDArray[np.float32]:
    """Return the linear light of each 16-bit level: for PQ of the screen, relative to `WHITE`; for HLG of the scene, up to 1."""
    signal = np.linspace(0, 1, 65536)
    if transfer == PQ:
        root = signal ** (32 / 2523)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return np.asarray(10000 / WHITE * light ** (16384 / 2610), np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12), np.float32)


@cache
def _screen() -> npt.NDArray[np.uint8]:
    """Return the 8-bit sRGB level of each 16-bit level of linear light."""
    light = np.linspace(0, 1, 65536)
    level = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * level), np.uint8)
