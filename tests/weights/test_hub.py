"""What is asked of the hub, and what is said of its answers; the hub itself is never asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub import errors as hub_errors

from adnet.errors import UserError
from adnet.weights import hub

FILES = ["config.json", "model.safetensors"]


def refusal(kind: type[Exception]) -> Exception:
    """An error of the hub's client, which it makes of an answer over HTTP."""
    error = kind.__new__(kind)
    error.args = ("404 Client Error. (Request ID: 1)\n\nSeveral lines.",)
    return error


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that answers, and an empty cache."""
    monkeypatch.setattr(hub, "urlopen", lambda *_, **__: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def raising(error: Exception) -> Callable[..., Any]:
    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


REFUSALS = [
    (hub_errors.RevisionNotFoundError, "it has no revision 'v9'"),
    (hub_errors.RepositoryNotFoundError, "there is no such model, or it is private"),
    (hub_errors.GatedRepoError, "access to it must be requested on its page"),
]


@pytest.mark.usefixtures("answering")
@pytest.mark.parametrize(("kind", "message"), REFUSALS)
def test_what_the_hub_refuses_is_one_line(kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HfApi, "repo_info", raising(refusal(kind)))
    with pytest.raises(UserError, match=rf"can't get hub:someone/model: {message}") as caught:
        hub.download("someone/model", "v9", FILES)
    assert "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    begun = time.monotonic()
    with pytest.raises(UserError, match="the hub doesn't answer, or HF_HUB_OFFLINE is set, and it isn't in the cache"):
        hub.download("someone/model", None, FILES)
    assert time.monotonic() - begun < 10  # its client's own retries take 22 s
    assert constants.HF_HUB_OFFLINE is False


def test_what_is_in_the_cache_needs_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--someone--model"
    (cached / "snapshots" / "abc").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "v1").write_text("abc")
    assert hub.download("someone/model", "v1", FILES) == cached / "snapshots" / "abc"
    with pytest.raises(UserError, match="isn't in the cache"):
        hub.download("someone/model", "v2", FILES)


@pytest.mark.usefixtures("answering")
def test_a_folder_is_put_where_it_was_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, Any]] = []

    def note(call: str, answer: Any = None) -> Callable[..., Any]:
        return lambda _, *given, **named: asked.append((call, (*given, named))) or answer

    monkeypatch.setattr(HfApi, "create_repo", note("create_repo"))
    monkeypatch.setattr(HfApi, "create_branch", note("create_branch"))
    monkeypatch.setattr(HfApi, "upload_folder", note("upload_folder", SimpleNamespace(commit_url="where/it/is")))
    assert hub.upload(tmp_path, "someone/model", "v1", True, "first") == "where/it/is"
    assert asked == [
        ("create_repo", ("someone/model", {"private": True, "exist_ok": True})),
        ("create_branch", ("someone/model", {"branch": "v1", "exist_ok": True})),
        (
            "upload_folder",
            ({"repo_id": "someone/model", "folder_path": tmp_path, "revision": "v1", "commit_message": "first"},),
        ),
    ]


@pytest.mark.usefixtures("answering")
def test_an_upload_that_is_refused_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(HfApi, "create_repo", raising(refusal(hub_errors.RepositoryNotFoundError)))
    with pytest.raises(UserError, match="can't put someone/model on the hub: there is no such model") as caught:
        hub.upload(tmp_path, "someone/model", None, None, "first")
    assert "\n" not in str(caught.value)
