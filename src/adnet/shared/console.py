"""What a command prints: what its reader wants to know, and none of its libraries' remarks."""

from __future__ import annotations

import logging
import sys
import warnings

_REMARKING = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)
"""Loggers of Lightning's tips and lines about devices and ranks; it sets the level of none of them itself."""


def quiet() -> None:
    """Silence the libraries' tips, deprecations and guesses at the number of workers; their other warnings stay.

    Where Python was told how to treat warnings (`-W`, PYTHONWARNINGS), those are left alone.
    """
    for name in _REMARKING:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated")
