"""The README's Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from videos import pictures

from adnet.data import read_mask
from adnet.models import ADNet

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def after_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: ADNet, tiny_model_config: dict[str, Any]
) -> Path:
    """A working directory as `make demo` leaves it, but for the sizes."""
    from PIL import Image

    checkpoint = tmp_path / "runs" / "demo" / "2026-01-01_00-00-00" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    weights = {f"model.{name}": value for name, value in tiny_model.state_dict().items()}
    torch.save(
        {"hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]}, "state_dict": weights}, checkpoint
    )
    for index, image in enumerate(pictures(3)):
        frame = tmp_path / "data" / "synthetic-demo" / "JPEGImages" / "480p" / "val-004" / f"{index:05d}.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(frame)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_work_when_pasted(after_the_demo: Path) -> None:
    assert EXAMPLES
    for example in EXAMPLES:
        assert len(example.splitlines()) <= 12
        exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    masks = sorted((after_the_demo / "masks").glob("*.png"))
    assert [path.name for path in masks] == ["00000.png", "00001.png", "00002.png"]
    assert all(read_mask(path).shape == (48, 80) for path in masks)
