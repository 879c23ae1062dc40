"""Files from the network: resumed where they were cut off, checked, with a progress bar."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from adnet.errors import UserError

_CHUNK = 1 << 16


def fetch(url: str, path: Path, known_hash: str | None = None, attempts: int = 5, timeout: float = 20) -> Path:
    """Download `url` to `path`, unless it is there already (with the hash, if one is given), and return `path`.

    The part that has arrived is kept in `<path>.part`, also after a failure, and the next try, in this call or another, asks the
    server for the rest; `path` appears only when it is complete. `known_hash` is pooch's, `"sha256:..."` or `"md5:..."`. The
    download fails after `attempts` in a row that bring nothing new; each gives up after `timeout` seconds without a byte.

    Raises UserError if the file can't be downloaded or has another hash; a damaged file is removed.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")

    def download(url: str, target: Any, _: Any) -> None:
        part = path.with_name(f"{path.name}.part")
        _resume(url, part, attempts, timeout)
        os.replace(part, target)

    try:
        pooch.retrieve(url, known_hash, path.name, path.parent, downloader=download)
    except ValueError as error:
        raise UserError(
            f"{url} is not the file that it should be: its hash is not {known_hash}; try again, or give another url"
        ) from error
    except OSError as error:  # requests' errors are, too
        raise _failed(url, error) from error
    return path


def _resume(url: str, part: Path, attempts: int, timeout: float) -> None:
    """Bring `part` to its full length. Raises UserError when `attempts` in a row brought nothing."""
    left = attempts
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            return _stream(url, part, timeout)
        except requests.HTTPError:
            raise
        except requests.RequestException as error:
            now = part.stat().st_size if part.is_file() else 0
            left = attempts if now > before else left - 1
            if left < 1:
                kept = f"; {now / 1e6:.1f} MB are kept in {part}, and the next try goes on there" if now else ""
                raise _failed(url, error, kept) from error


def _stream(url: str, part: Path, timeout: float) -> None:
    """Request what `part` lacks, once, and append it."""
    have = part.stat().st_size if part.is_file() else 0
    # Compressed on the way, the length and the place to go on from would be another file's.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and have:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise requests.ConnectionError(f"the server has less than the {have} bytes that were there; began anew")
        response.raise_for_status()
        partial = response.status_code == requests.codes.partial_content
        if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise requests.ConnectionError("the server sent another part than asked for; began anew")
        have = have if partial else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, leave=False, disable=None)
        with part.open("ab" if partial else "wb") as file, bar:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and (size := part.stat().st_size) != total:
        raise requests.ConnectionError(f"the connection ended after {size} of {total} bytes")


def _failed(url: str, error: BaseException, kept: str = "") -> UserError:
    return UserError(f"cannot download {url}: {_reason(error)}{kept}; try again, or give another url")


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line: urllib3 wraps an error several times."""
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen and str(cause):
        seen.add(id(cause))
        error = cause
    return " ".join(str(error).split()) or type(error).__name__
