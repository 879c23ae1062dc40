"""What needs no Gradio, whose import takes seconds; what does is in test_page.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
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
