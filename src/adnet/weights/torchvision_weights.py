"""Weights that torchvision publishes, from the cache that it would use itself."""

from __future__ import annotations

from pathlib import Path

import torch

from adnet.errors import UserError
from adnet.shared.fetch import fetch


def torchvision_weights(url: str, otherwise: str) -> Path:
    """Find the file of the weights at `url` in the cache of `torch.hub`, where it is downloaded at first use.

    Raises UserError if it can't be had; `otherwise` says there what else may be done.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        # The first eight digits of its hash are in the name; the rest is unknown until it is here.
        return path if path.is_file() else fetch(url, path, attempts=1)
    except UserError as error:
        raise UserError(
            f"no weights {path.name} ({error}); copy them to {path} from another machine, or {otherwise}"
        ) from error
