"""The Hugging Face hub: downloads and uploads that fail within seconds, and in one line."""

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
    """Use only the hub's cache in this block if the hub doesn't answer a request; its client would retry for a minute."""
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
    """Download `files` of the model OWNER/NAME into the hub's cache and return their folder there.

    `revision` is a branch, tag or commit. If the hub doesn't answer, the cached files are used. Raises UserError if there
    are none.
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
    """Upload a folder's files to the hub's model OWNER/NAME, creating it if needed; return the commit's address.

    Raises UserError if the hub refuses.
    """
    api = HfApi(library_name="adnet")
    try:
        with hub_without_retries():
            api.create_repo(name, private=private, exist_ok=True)
            if revision:
                api.create_branch(name, branch=revision, exist_ok=True)
            commit = api.upload_folder(repo_id=name, folder_path=folder, revision=revision, commit_message=message)
            return str(commit.commit_url)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise UserError(
            f"can't put {name} on the hub: {_reason(error, revision)}; check the name, and that you are logged in (hf auth login)"
        ) from error


def _reason(error: Exception, revision: str | None) -> str:
    """Say in one line what the hub's client says in several."""
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r}"
    if isinstance(error, GatedRepoError):
        return "access to it must be requested on its page, and needs a login"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such model, or it is private and you are not logged in"
    if isinstance(error, (LocalEntryNotFoundError, OfflineModeIsEnabled)):
        return "the hub doesn't answer, or HF_HUB_OFFLINE is set, and it isn't in the cache"
    return (str(error) or type(error).__name__).strip().splitlines()[0]
