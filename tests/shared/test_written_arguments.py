from __future__ import annotations

import ast
import inspect
from pkgutil import resolve_name

import pytest
import yaml

from adnet.shared import written_arguments as module
from adnet.shared.command import conf_dir
from adnet.shared.written_arguments import written_arguments


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
    unsaid -= {
        target for target in unsaid if target.startswith("adnet.data.datasets.")
    }  # decorated, and free of PyTorch
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


@pytest.mark.parametrize(
    "error", [SystemError("AST constructor recursion depth mismatch"), RecursionError(), SyntaxError()]
)
def test_a_file_that_the_parser_refuses_says_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> ast.Module:
        raise error

    module._statements.cache_clear()
    monkeypatch.setattr(ast, "parse", refuse)
    assert written_arguments("adnet.inference.Protocol") is None
    monkeypatch.undo()
    module._statements.cache_clear()
    assert written_arguments("adnet.inference.Protocol") is not None


def test_each_file_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    parse = ast.parse
    module._statements.cache_clear()
    monkeypatch.setattr(ast, "parse", lambda source: parsed.append(source) or parse(source))
    for _ in range(3):
        written_arguments("torch.optim.SGD")
    assert len(parsed) == len(set(parsed)) > 0
