"""Encoder, branches, fusion head, and the networks made of them."""

from adnet.models.adnet import ADNet, upsample
from adnet.models.attention import pixel_attention
from adnet.models.branches import BRANCHES, VARIANTS
from adnet.models.encoder import DeepLabV3

__all__ = ["BRANCHES", "VARIANTS", "ADNet", "DeepLabV3", "pixel_attention", "upsample"]
