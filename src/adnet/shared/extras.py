"""Optional libraries, which pip installs with an extra of adnet."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from adnet.errors import UserError


def need_extra(extra: str, module: str, what: str) -> None:
    """Raise UserError, with the command that installs it, if `module`, which `what` needs, is not installed."""
    if sys.modules.get(module) is None and find_spec(module) is None:
        raise UserError(f"{what} needs the extra: pip install 'adnet[{extra}]'")
