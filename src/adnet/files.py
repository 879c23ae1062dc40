"""Files on disk: written so that a reader sees all of one or none, told apart by their content, removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Return the folder of what can be made again: `$ADNET_CACHE`, or `.cache/adnet` of the user; it may not be there yet."""
    return Path(os.environ.get("ADNET_CACHE") or Path.home() / ".cache" / "adnet")


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


def sha256(path: Path) -> str:
    """Hash a file's content, of any size; hexadecimal. Raises OSError if it can't be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def remove(paths: Iterable[Path]) -> None:
    """Delete files, and folders with all that is in them; what isn't there is passed over."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
