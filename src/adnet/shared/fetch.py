"""Download files, with a progress bar; an interrupted download resumes."""

import os
from pathlib import Path

import requests
from tqdm import tqdm

from adnet.errors import UserError
from adnet.shared.files import full_disk_named


def fetch(url: str, path: Path, attempts: int = 5, timeout: float = 20) -> Path:
    """Download `url` to `path`, unless that file exists, and return `path`.

    Received bytes are kept in `<path>.part`, and the next attempt, in this call or another, requests the rest. An
    attempt ends after `timeout` seconds without a byte. Raises UserError after `attempts` in a row without a new
    byte.
    """
    if path.is_file():
        return path
    part, left = path.with_name(f"{path.name}.part"), attempts
    part.parent.mkdir(parents=True, exist_ok=True)
    while True:
        before = _size(part)
        try:
            _stream(url, part, timeout)
            break
        except OSError as error:  # includes requests' errors, which have no errno
            if error.errno is not None:
                raise
            left = attempts if _size(part) > before else left - 1
            again = isinstance(error, requests.RequestException) and not isinstance(error, requests.HTTPError)
            if left < 1 or not again:
                kept = f"; {_size(part) / 1e6:.1f} MB are kept in {part}, and the next try continues there"
                reason = _reason(error) + kept * (_size(part) > 0)
                raise UserError(f"cannot download {url}: {reason}; try again, or give another url") from error
    os.replace(part, path)
    return path


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _stream(url: str, part: Path, timeout: float) -> None:
    have = _size(part)
    # With compression, length and offset would be those of the compressed file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable and have:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise requests.ConnectionError(f"the server's file is shorter than the {have} bytes kept; started over")
        response.raise_for_status()
        partial = response.status_code == requests.codes.partial_content
        if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise requests.ConnectionError("the server sent another part than requested; started over")
        have = have if partial else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        bar = tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, leave=False, disable=None)
        with full_disk_named(part), part.open("ab" if partial else "wb") as file, bar:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and (size := _size(part)) != total:
        raise requests.ConnectionError(f"the connection ended after {size} of {total} bytes")


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line: urllib3 wraps an error several times."""
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen and str(cause):
        seen.add(id(cause))
        error = cause
    return " ".join(str(error).split()) or type(error).__name__
