"""For `torch.hub.load(REPOSITORY, "adnet_lite")`: the weights that come with adnet, without installing it."""

import sys
from pathlib import Path
from typing import Any

dependencies = [
    "albumentations",
    "cv2",
    "huggingface_hub",
    "hydra",
    "jsonschema",
    "pydantic",
    "safetensors",
    "timm",
    "torch",
]
"""What PyTorch asks for before it calls a function of these; `pip install adnet` brings it."""

sys.path.insert(0, str(Path(__file__).parent / "src"))


def adnet_lite() -> Any:
    """Load the network of docs/released_model.md, in eval mode on the CPU; its `test_size` is (257, 449)."""
    from adnet.models import ADNet

    return ADNet.from_pretrained("adnet/lite")
