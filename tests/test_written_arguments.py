from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

from adnet.command import conf_dir
from adnet.written_arguments import written_arguments


def targets() -> list[str]:
    """Every `_target_` of the configs."""
    found: set[str] = set()

    def look(node: object) -> None:
        if isinstance(node, dict):
            found.update([node["_target_"]] if "_target_" in node else [])
            for child in node.values():
                look(child)

    for path in conf_dir().rglob("*.yaml"):
        look(yaml.safe_load(path.read_text()))
    return sorted(found)


def test_the_source_says_what_the_signature_says() -> None:
    said = {target: written_arguments(target) for target in targets()}
    for target, arguments in said.items():
        parameters = inspect.signature(resolve_name(target)).parameters
        if arguments is not None:
            assert arguments == list(parameters), target
    unsaid = {target for target, arguments in said.items() if arguments is None}
    assert {
        "lightning.Trainer",
        "torch.optim.SGD",
        "adnet.models.ADNet",
        "adnet.inference.Protocol",
    } <= said.keys() - unsaid
    assert len(unsaid) < len(said) / 4, unsaid


@pytest.mark.parametrize(
    "target",
    ["", "nothing", "no.such.module", "adnet.models.Nothing", "adnet.training.loggers.wandb_logger", "os.path.join"],
)
def test_what_the_source_does_not_say(target: str) -> None:
    assert written_arguments(target) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "scale"),
        (["--cfg", "job"], "seed: "),
        (["--shell-completion", "query=bash"], "pairs.batch_size="),
        (["pairs.batchsize=3"], "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        (["+pairs.batchsize=3"], "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        (["+trainer.precison=16"], "unknown key trainer.precison; did you mean trainer.precision?"),
        (
            ["optim=adamw", "+optim.optimizer.lrr=1"],
            "unknown key optim.optimizer.lrr; did you mean optim.optimizer.lr?",
        ),
        (
            ["+model.encoder.aspp_rats=[1]"],
            "unknown key model.encoder.aspp_rats; did you mean model.encoder.aspp_rates?",
        ),
        (["+callbacks.checkpoint=1"], "unknown key callbacks.checkpoint; did you mean callbacks.checkpoints?"),
        (["+seeed=1"], "unknown key seeed; did you mean seed?"),
    ],
)
def test_an_answer_about_the_command_line_needs_nothing_that_takes_seconds_to_import(
    tmp_path: Path, words: list[str], said: str
) -> None:
    code = """
import atexit, sys
slow = ["torch", "lightning", "timm", "torchvision", "albumentations", "cv2", "matplotlib"]
atexit.register(lambda: print("imported:", [name for name in slow if name in sys.modules]))
from adnet.train import main
main()
"""
    line = "python -m adnet.train pairs.b"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "COMP_LINE": line, "COMP_POINT": str(len(line))}
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert said in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout.endswith("imported: []\n")
