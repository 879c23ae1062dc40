"""What a command prints: results and progress, without the remarks of libraries."""

from __future__ import annotations

import logging
import sys
import warnings

_REMARKING = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
)
"""The loggers of Lightning's tips and of its lines about devices and ranks; Lightning sets none of their levels."""


def quiet() -> None:
    """Silence tips, deprecations and advice on the number of workers; other warnings of libraries stay.

    If warnings were configured (`-W`, PYTHONWARNINGS), they are left as they are.
    """
    for name in _REMARKING:
        logging.getLogger(name).setLevel(logging.WARNING)
    if not sys.warnoptions:
        for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.* is deprecated")
