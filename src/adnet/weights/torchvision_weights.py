"""Weights that torchvision publishes, in the cache that it uses itself."""

from __future__ import annotations

from pathlib import Path

import torch

from adnet.errors import UserError
from adnet.shared.fetch import fetch


def torchvision_weights(url: str, otherwise: str) -> Path:
    """Return the file of the weights at `url`, downloaded to the cache of `torch.hub` on first use.

    Raises UserError if that fails; `otherwise` tells the user an alternative.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        # Not checked: the name holds only the first eight digits of the hash.
        return path if path.is_file() else fetch(url, path, attempts=1)
    except UserError as error:
        raise UserError(
            f"no weights {path.name} ({error}); copy them to {path} from another machine, or {otherwise}"
        ) from error
