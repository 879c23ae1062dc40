"""Where a network runs."""

from __future__ import annotations

import torch

from adnet.errors import UserError


def usable_device(name: str | torch.device | None = None) -> torch.device:
    """Give the device of that name, which has been asked to compute something; None: cuda where there is one, else cpu.

    Raises UserError for a name that PyTorch doesn't know, and for a device that isn't there or has no driver.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise UserError(
            f"device={name} can't be used ({str(error).splitlines()[0]}): give cpu, cuda or cuda:1, or leave it out"
        ) from error
    return device
