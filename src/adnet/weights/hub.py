"""The Hugging Face hub: downloads and uploads that fail within seconds and in one line, and the page that it shows of a network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import EvalResult, HfApi, ModelCard, ModelCardData, constants, errors, snapshot_download

from adnet.errors import UserError
from adnet.shared.file_formats import read_document


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
    """Download `files` of the model OWNER/NAME, of a branch, tag or commit, into the hub's cache and return their folder there.

    If the hub doesn't answer, the cached files are used. Raises UserError if there are none.
    """
    try:
        with hub_without_retries():
            return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        advice = f"check its name and revision, or download its {' and '.join(files)} into a folder and give that"
        raise UserError(f"can't get hub:{name}: {_reason(error, revision)}; {advice}") from error


def upload(folder: Path, name: str, revision: str | None, private: bool | None, message: str) -> str:
    """Upload a folder to the hub's model OWNER/NAME; return the commit's address. Raises UserError if the hub refuses."""
    api = HfApi(library_name="adnet")
    try:
        with hub_without_retries():
            api.create_repo(name, private=private, exist_ok=True)
            if revision:
                api.create_branch(name, branch=revision, exist_ok=True)
            commit = api.upload_folder(repo_id=name, folder_path=folder, revision=revision, commit_message=message)
            return str(commit.commit_url)
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        advice = "check the name, and that you are logged in (hf auth login)"
        raise UserError(f"can't put {name} on the hub: {_reason(error, revision)}; {advice}") from error


def _reason(error: Exception, revision: str | None) -> str:
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}"
    if isinstance(error, errors.GatedRepoError):
        return "access to it must be requested on its page, and needs a login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such model, or it is private and you are not logged in"
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        return "the hub doesn't answer, or HF_HUB_OFFLINE is set, and it isn't in the cache"
    return (str(error) or type(error).__name__).strip().splitlines()[0]


_TASK = "video-object-segmentation"
_DAVIS_LINES = {"mean": "mean", "recall": "share of frames above 0.5", "decay": "first quarter minus last"}


def model_card(name: str, variant: str, scores: str | Path | None) -> str:
    """Compose the card of a network, in Markdown with a YAML header.

    `name` is OWNER/NAME, or the folder's name; `scores` the `scores.json` of an evaluation of this network, None if there is none.
    Raises UserError if `scores` is no such file.
    """
    results = [] if scores is None else _results(Path(scores))
    tags, scored = ["pytorch", _TASK, "anchor-diffusion"], name if results else None
    data = ModelCardData(library_name="adnet", tags=tags, model_name=scored, eval_results=results or None)
    template = str(Path(__file__).with_name("model_card.md.j2"))
    return f"{ModelCard.from_template(data, template, name=name, variant=variant, results=results)}\n"


def _results(file: Path) -> list[EvalResult]:
    content = read_document(file, "scores", ("dataset", "mean", "mean.*"), "python -m adnet.evaluate writes one")
    return [
        EvalResult(
            task_type=_TASK,
            task_name=f"protocol {content['protocol']}" if content.get("protocol") else "protocol not named",
            dataset_type=content["dataset"],
            dataset_name=content["dataset"],
            dataset_split=content.get("split"),
            metric_type=f"{metric}-{line}",
            metric_name=f"{metric} {line} ({meaning})" if line != "mean" else f"{metric} mean",
            metric_value=round(100 * content["mean"][metric][line], 1),
        )
        for metric in ("J", "F")
        for line, meaning in _DAVIS_LINES.items()
        if content["mean"][metric][line] is not None
    ]
