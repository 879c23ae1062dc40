"""What the documents tell a reader to type: the README's Python runs, and every command composes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from videos import pictures

from adnet.command import check_config, conf_dir
from adnet.data import read_mask
from adnet.data.datamodule import PairDataModule
from adnet.models import ADNet

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    *(str(path.relative_to(ROOT)) for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/*.md")]),
]
SHELL = r"""
set -eu
PATH=
make() { :; }
wandb() { :; }
pip() { :; }
srun() { "$@"; }
torchrun() {
  while [ "$1" != -m ]; do case "$1" in --nproc-per-node=*) set -- "$@" trainer.devices="${1#*=}";; esac; shift; done
  python "$@"
}
python() { if [ "$1" = -m ]; then shift; printf '%s\t' "$@"; echo; fi; }
"""
"""What says, in place of running it, which words a command of ours is given."""


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[list[str]]:
    """What each `python -m adnet.NAME` of a document is given, as the shell hands it over: `[["adnet.NAME", word, ...], ...]`."""
    script = SHELL + "\n".join(blocks(document, "sh"))
    ended = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [line.split("\t")[:-1] for line in ended.stdout.splitlines()]


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
    examples = blocks("README.md", "python")
    assert examples
    for example in examples:
        assert len(example.splitlines()) <= 12
        exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    masks = sorted((after_the_demo / "masks").glob("*.png"))
    assert [path.name for path in masks] == ["00000.png", "00001.png", "00002.png"]
    assert all(read_mask(path).shape == (48, 80) for path in masks)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_compose(document: str) -> None:
    for module, *words in commands(document):
        name = module.removeprefix("adnet.")
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            overrides = parser.parse_overrides([word for word in words if not word.startswith("-")])
            if "-m" in words:
                # The first job of a sweep.
                overrides = [
                    parser.parse_override(f"{one.get_key_element()}={next(one.sweep_string_iterator())}")
                    if one.is_sweep_override()
                    else one
                    for one in overrides
                ]
            cfg = hydra.compose(name, [str(one.input_line) for one in overrides])
            check_config(cfg, name)
            if name == "train":
                check_batch(cfg, words)


def check_batch(cfg: Any, words: list[str]) -> None:
    """The devices that a command is given, by itself or by what starts it, can share its pairs."""
    devices = cfg.trainer.devices
    if devices == "auto":
        (devices,) = (int(word.split("=")[1]) for word in words if word.startswith("hydra.sweeper.gpus_per_job="))
    data: Any = SimpleNamespace(batch_size=cfg.pairs.batch_size)
    world = devices * cfg.trainer.get("num_nodes", 1)
    assert PairDataModule.device_batch_size(data, world, cfg.trainer.accumulate_grad_batches) >= 1


def test_documents_have_commands() -> None:
    given = [module for document in DOCUMENTS for module, *_ in commands(document)]
    assert {f"adnet.{path.stem}" for path in conf_dir().glob("*.yaml")} <= set(given)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nobody_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "commands.html", "groups.html", "models.html"} <= {page.name for page in pages}
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*(?:stylesheet|preconnect|icon)[^>]*//"""
    )
    assert [page.name for page in pages if loaded.search(page.read_text())] == []
    options = (tmp_path / "site" / "reference" / "commands.html").read_text()
    assert all(f'id="{path.stem}"' in options for path in conf_dir().glob("*.yaml"))
