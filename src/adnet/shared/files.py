"""Files on disk: written atomically, compared by content, removed."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from adnet.errors import UserError
from adnet.shared.locks import held


def cache_folder() -> Path:
    """Return the cache folder: `$ADNET_CACHE`, or `~/.cache/adnet`. It may not exist yet. Raises UserError as `from_home` does."""
    return from_home(os.environ.get("ADNET_CACHE") or "~/.cache/adnet")


def from_home(path: str | Path) -> Path:
    """Replace a `~` at the beginning by the home folder. Raises UserError if there is none, as for a container's unknown user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: this user has no home folder; set HOME, or ADNET_CACHE for what is kept") from error


def write_json(path: Path, content: Any, overwrite: bool = True) -> None:
    """Write JSON as `write_text` writes text."""
    write_text(path, json.dumps(content, indent=1) + "\n", overwrite)


def write_text(path: Path, content: str, overwrite: bool = True) -> None:
    """Write text as `replacing` does. Raises OSError, and keeps the old file, if it cannot be written."""
    with replacing(path, overwrite) as draft:
        draft.write_text(content, encoding="utf-8")


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Yield a draft beside `path`, which replaces it when the block succeeds and is deleted when it fails.

    Parent folders are created; a reader sees the old file or the new one. Raises UserError if `path` is there, unless
    `overwrite`.
    """
    with draft_of(path, Path.touch) as draft:
        yield draft
        if not overwrite:
            _reserve(draft, path)
        os.replace(draft, path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a draft beside the folder `path` to fill. It becomes `path` if the block succeeds, or is deleted.

    Raises UserError if `path` is there already, unless it is an empty folder.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"{path} already exists and is not an empty folder; give another output")
    if path.is_mount() or path.resolve() == Path.cwd():
        raise UserError(
            f"{path} is a mount point or the working directory, which can't be replaced; give another output"
        )
    with draft_of(path.resolve()) as draft:
        yield draft
        os.replace(draft, path.resolve())


@contextmanager
def draft_of(path: Path, make: Callable[[Path], None] = Path.mkdir) -> Iterator[Path]:
    """Yield a new draft beside `path`, a folder, or what else `make` makes; delete it at the end if it is still there.

    It is locked, so that others don't delete it: what killed processes left in a folder goes when one first writes there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned_once(path.parent.absolute())
    made = path.with_name(f".{path.name}.{token_hex(4)}")  # another thread, or machine, may write the same file
    draft = made.with_name(f"{made.name}.draft")
    try:
        make(made)
        with held(made), full_disk_named(path):
            yield made.rename(draft)  # only now, when it is locked, may it be taken for abandoned
    finally:
        with suppress(OSError):
            remove([made, draft])


def remove_abandoned(folder: Path) -> None:
    """Delete the drafts in `folder` whose writers were killed, if it can be known."""
    with suppress(OSError):
        for path in folder.iterdir():
            if re.fullmatch(r"\..+\.[0-9a-f]{8}\.draft", path.name):
                with suppress(OSError), held(path) as abandoned:
                    remove([path] * abandoned)


_remove_abandoned_once = cache(remove_abandoned)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Name `path` in the error of a full disk: that of an open file names none, and others a draft."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename, error.filename2 = str(path), None
        raise


def _reserve(draft: Path, path: Path) -> None:
    """Take the name `path`, where no other process can do the same. Raises UserError if `path` is there."""
    try:
        os.link(draft, path)
        return
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            return
    raise UserError(f"{path} is there already; give another output, or overwrite=true")


def read_json(file: Path, kind: type[Any] = dict) -> Any:
    """Read the JSON in `file`, an object or what else is of this `kind`. Raises UserError if there is none."""
    try:
        # JSON has no NaN, which Python reads: as a text, it is refused where a number is expected.
        document = json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=str)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); write it again, or remove it") from error
    if not isinstance(document, kind):
        raise UserError(f"{file}: expected a JSON object, got {type(document).__name__}; write it again")
    return document


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text in UTF-8, stripped, without empty ones. Raises UserError if it can't be read."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as text ({error}); replace the file") from error
    return [line.strip() for line in lines if line.strip()]


def sha256(path: Path) -> str:
    """Hash a file's content, of any size; hexadecimal. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_sha256(files: Iterable[Path]) -> str:
    """Hash several files by name and content, in any order; hexadecimal."""
    lines = sorted(f"{file.name} {sha256(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def remembered(
    what: str, files: Iterable[Path], compute: Callable[[], dict[str, Any]], folder: Path | None = None
) -> dict[str, Any]:
    """Return `compute()`, a JSON object made from `files`, and remember it until one of them changes its size or time.

    `what` tells apart what is made from the same files. Kept in `folder`, by default one of the cache, if it can be
    written.
    """
    try:
        folder = folder or cache_folder() / "fingerprints"
        states = [(str(file.absolute()), (s := file.stat()).st_size, s.st_mtime_ns, s.st_ctime_ns) for file in files]
    except (OSError, UserError):
        return compute()  # which tells what is wrong with a file
    kept = folder / f"{hashlib.sha256(repr((what, states)).encode()).hexdigest()}.json"
    with suppress(UserError):
        return read_json(kept)
    content = compute()
    with suppress(OSError):
        write_json(kept, content)
    return content


def remove(paths: Iterable[Path]) -> None:
    """Delete files, and folders with everything in them; missing ones are skipped."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
