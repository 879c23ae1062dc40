from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import torch

from adnet.app.__main__ import main
from adnet.models import ADNet


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_model: ADNet, tiny_model_config: dict[str, Any]) -> Path:
    weights = {f"model.{name}": value for name, value in tiny_model.state_dict().items()}
    torch.save(
        {"hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]}, "state_dict": weights},
        tmp_path / "last.ckpt",
    )
    return tmp_path / "last.ckpt"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    return tmp_path / "temporary"


def test_it_serves_until_it_is_told_to_stop_and_leaves_nothing(
    run: Callable[..., Any], checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the first import of it would: it asks for its folder then.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder.parent / "gradio"))
    gradio = pytest.importorskip("gradio")
    seen = []

    def stopped(blocks: Any) -> None:
        config = requests.get(f"{blocks.local_url}config", timeout=60).json()
        seen.extend(
            [
                blocks.local_url,
                config["analytics_enabled"],
                blocks.share,
                sorted(path.name[:10] for path in folder.iterdir()),
            ]
        )
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(gradio.Blocks, "block_thread", stopped)
    ended = run(main, f"checkpoint={checkpoint}", "examples=1", "device=cpu")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{seen[0]} until Ctrl-C\n"
    assert seen[0].startswith("http://127.0.0.1:")
    assert seen[1:] == [False, False, ["adnet-app-"]]
    assert not any(folder.iterdir())
    with pytest.raises(requests.ConnectionError):
        requests.get(seen[0], timeout=9)


def test_without_gradio_the_extra_is_named(
    run: Callable[..., Any], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "adnet.app.page", raising=False)
    ended = run(main, f"checkpoint={checkpoint}")
    assert (ended.code, ended.err) == (1, "adnet: adnet.app needs the extra: pip install 'adnet[app]'\n")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("max_frames=0", "max_frames=0: expected a whole number of at least 1"),
        ("max_megapixels=0", "max_megapixels=0: expected a number above 0"),
        ("port=70000", "port=70000: expected a whole number of at least 1 and at most 65535 or null"),
        ("max_frame=9", "unknown key max_frame; did you mean max_frames?"),
    ],
)
def test_mistakes_end_in_one_line(run: Callable[..., Any], argument: str, said: str) -> None:
    ended = run(main, argument)
    assert (ended.code, ended.err) == (1, f"adnet: {said}\n")
