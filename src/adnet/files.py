"""Writing a file so that a reader sees all of it or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, with the folders above it."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, content: str) -> None:
    """Write text atomically, with the folders above it. Raises OSError and leaves what was there if it can't be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(content)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
