"""The network of the paper's Section 3, piece by piece, and the published checkpoints."""

from adnet.models.adnet import ADNet
from adnet.models.attention import pixel_attention, similarity
from adnet.models.branches import BRANCHES, VARIANTS, Branch, Encoded
from adnet.models.cost import Cost, model_cost
from adnet.models.decoder import upsample
from adnet.models.encoder import DeepLabV3
from adnet.models.published import load_published, published_config

__all__ = [
    "BRANCHES",
    "VARIANTS",
    "ADNet",
    "Branch",
    "Cost",
    "DeepLabV3",
    "Encoded",
    "load_published",
    "model_cost",
    "pixel_attention",
    "published_config",
    "similarity",
    "upsample",
]
