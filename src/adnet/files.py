"""Files on disk: written so that a reader sees all of one or none, told apart by their content, removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from adnet.errors import UserError


def cache_folder() -> Path:
    """Return the folder of what can be made again: `$ADNET_CACHE`, or `.cache/adnet` of the user; it may not be there yet."""
    return Path(os.environ.get("ADNET_CACHE") or Path.home() / ".cache" / "adnet")


def write_json(path: Path, content: Any, overwrite: bool = True) -> None:
    """Write JSON as `write_text` writes text."""
    write_text(path, json.dumps(content, indent=1) + "\n", overwrite)


def write_text(path: Path, content: str, overwrite: bool = True) -> None:
    """Write text atomically, with the folders above it. Raises OSError and leaves what was there if it can't be written.

    Raises UserError as `replacing` does.
    """
    with replacing(path, overwrite) as draft:
        draft.write_text(content)


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give a file beside `path` to write to; it takes the place of `path` when the block ends well, and is gone when it fails.

    The folders above are made. A reader sees all of one or none, and what was there stays until then. Raises UserError at the
    end if `path` is there by then, of another process perhaps, and `overwrite` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_hex(4)}")  # another thread, or machine, may write the same file
    try:
        yield draft
        if overwrite:
            os.replace(draft, path)
        else:
            _take(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _take(draft: Path, path: Path) -> None:
    """Rename the draft, where no other process can do the same. Raises UserError if `path` is there."""
    if not path.exists():
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(draft, path)
            return
        else:
            draft.unlink()
            return
    raise UserError(f"{path} is there already; give another output, or overwrite=true")


def read_json(file: Path) -> dict[str, Any]:
    """Read the JSON object in `file`. Raises UserError if there is none."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); write it again or remove the folder") from error
    if not isinstance(document, dict):
        raise UserError(f"{file}: expected a JSON object, got {type(document).__name__}; write it again")
    return document


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text in UTF-8, stripped, without empty ones. Raises UserError if it can't be read."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as text ({error}); replace the file") from error
    return [line.strip() for line in lines if line.strip()]


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
