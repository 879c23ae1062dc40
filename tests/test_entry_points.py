"""Entry points answer what needs no network before PyTorch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adnet import __version__

COMMANDS = (
    "adapt",
    "app",
    "benchmark",
    "convert",
    "dashboard",
    "download",
    "evaluate",
    "export",
    "predict",
    "report",
    "score",
    "train",
)
HEAVY = {"torch", "lightning", "timm", "gradio", "wandb"}


def answer(cwd: Path, *calls: list[str]) -> str:
    """Give several command lines to one process, each as `python -m` would; what it says, and the modules it has loaded then."""
    code = (
        "import runpy, sys\n"
        f"for name, *arguments in {list(calls)!r}:\n"
        "    sys.argv = [name, *arguments]\n"
        "    try:\n        runpy.run_module(name, run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as left:\n        print('left with', left.code or 0)\n"
        f"print('loaded', sorted({HEAVY!r} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_help_and_config_need_no_pytorch(tmp_path: Path) -> None:
    """Of two commands, for composing imports no more for others; that no command itself does is shown with its version."""
    said = answer(tmp_path, ["adnet.predict", "--help"], ["adnet.train", "--help"], ["adnet.train", "--cfg", "job"])
    assert said.count("is powered by Hydra") == 2
    assert "variant: full" in said
    assert "loaded []" in said


def test_most_mistakes_need_no_pytorch(tmp_path: Path) -> None:
    mistakes = {
        "seeed=1": "unknown key seeed; did you mean seed?",
        "+seeed=1": "unknown key seeed; did you mean seed?",
        "model=ful": "no model is called 'ful'; did you mean full?",
        "pairs.batchsize=3": "unknown key pairs.batchsize; did you mean pairs.batch_size?",
        "trainer.precison=16": "unknown key trainer.precison; did you mean trainer.precision?",
        "optim.optimizer.lrr=1": "unknown key optim.optimizer.lrr; did you mean optim.optimizer.lr?",
        "model.encoder.aspp_rats=[1]": "unknown key model.encoder.aspp_rats; did you mean model.encoder.aspp_rates?",
        "+callbacks.checkpoint=1": "unknown key callbacks.checkpoint; did you mean callbacks.checkpoints?",
        "steps=x": "steps=x: expected a whole number of at least 1",
        "optim.optimizer.lr=-1": "optim.optimizer.lr=-1: expected a number of at least 0",
        "steps=???": "steps has no value: give steps=...",
    }
    said = answer(tmp_path, *(["adnet.train", mistake] for mistake in mistakes), ["adnet.predict"])
    for line in (*mistakes.values(), "input has no value: give input=..."):
        assert f"adnet: {line}\n" in said
    assert said.count("left with 1") == len(mistakes) + 1
    assert "loaded []" in said


@pytest.mark.nightly
def test_an_added_argument_is_looked_for_where_it_is_taken(tmp_path: Path) -> None:
    """What `+` adds may be an argument that no config has; it is known by importing what takes it, which test_command.py has done."""
    mistakes = {
        "+pairs.batchsize=3": "pairs.batch_size",
        "+trainer.precison=16": "trainer.precision",
        "+optim.optimizer.lrr=1": "optim.optimizer.lr",
        "+model.encoder.aspp_rats=[1]": "model.encoder.aspp_rates",
    }
    said = answer(tmp_path, *(["adnet.train", mistake] for mistake in mistakes))
    for mistake, meant in mistakes.items():
        key = mistake.removeprefix("+").partition("=")[0]
        assert f"adnet: unknown key {key}; did you mean {meant}?" in said
    assert said.count("left with 1") == len(mistakes)


def test_the_package_lists_its_commands_without_pytorch(tmp_path: Path) -> None:
    said = answer(tmp_path, ["adnet"])
    assert "loaded []" in said
    listed = dict(
        line.removeprefix("  python -m adnet.").split(maxsplit=1) for line in said.splitlines() if line[:2] == "  "
    )
    assert set(listed) == set(COMMANDS)
    assert listed["train"] == "Train a variant, then evaluate it"
    assert all("`" not in line for line in listed.values())


def test_every_command_knows_its_version_and_nothing_else_does(tmp_path: Path) -> None:
    said = answer(tmp_path, *[[f"adnet.{name}", "--version"] for name in COMMANDS], ["adnet", "--version"])
    assert said.count(f"adnet {__version__}\n") == len(COMMANDS) + 1
    assert "Hydra" not in said
    assert "loaded []" in said
    said = answer(tmp_path, ["adnet", "predct"])
    assert "adnet: no option predct; did you mean python -m adnet.predict?" in said
    assert "left with 1" in said
