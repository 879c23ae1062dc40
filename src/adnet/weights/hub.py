"""The Hugging Face hub: asked once whether it answers, and what it says told in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from adnet.errors import UserError


@contextmanager
def hub_without_retries() -> Iterator[None]:
    """Take the hub's cache alone where the hub doesn't answer one request: its client would retry for a minute."""
    offline = constants.HF_HUB_OFFLINE
    if not offline:
        try:
            urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=5).close()
        except HTTPError:
            pass  # it answers
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def download(name: str, revision: str | None, files: Sequence[str]) -> Path:
    """Return the folder, in the hub's own cache, of `files` of the model OWNER/NAME; a revision is a branch, tag or commit.

    Where the hub doesn't answer, the cache is all that is asked. Raises UserError where they can't be had.
    """
    try:
        with hub_without_retries():
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(
            f"can't get hub:{name}: {_reason(error, revision)}; check its name and revision, or download its "
            f"{' and '.join(files)} into a folder and give that"
        ) from error


def upload(folder: Path, name: str, revision: str | None, private: bool | None, message: str) -> str:
    """Put a folder's files into the model OWNER/NAME of the hub, which is made if need be; the address of the commit.

    Raises UserError where the hub doesn't take them.
    """
    api = HfApi(library_name="adnet")
    try:
        with hub_without_retries():
            api.create_repo(name, private=private, exist_ok=True)
            if revision:
                api.create_branch(name, branch=revision, exist_ok=True)
            return str(
                api.upload_folder(
                    repo_id=name, folder_path=folder, revision=revision, commit_message=message
                ).commit_url
            )
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(
            f"can't put {name} on the hub: {_reason(error, revision)}; check the name, and that you are logged in (hf auth login)"
        ) from error


def _reason(error: Exception, revision: str | None) -> str:
    """What the hub's client means, which says more in several lines."""
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r}"
    if isinstance(error, GatedRepoError):
        return "it is given to those alone who ask on its page and log in"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such model, or it is private and you are not logged in"
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return "the hub doesn't answer, or HF_HUB_OFFLINE is set, and it isn't in the cache"
    return (str(error) or type(error).__name__).strip().splitlines()[0]
