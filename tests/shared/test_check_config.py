"""A value that nothing could be trained with ends in one line, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import hydra
import pytest
from omegaconf import OmegaConf

from adnet.errors import UserError
from adnet.shared.check_config import TYPES, check_against
from adnet.shared.command import command, conf_dir


@pytest.fixture
def refused(run: Callable[..., Any]) -> Callable[[str], str]:
    def line(argument: str) -> str:
        ended = run(command("train")(lambda _: pytest.fail("the command ran")), argument)
        assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
        assert list(Path.cwd().iterdir()) == []
        message: str = ended.err.removeprefix("adnet: ").rstrip("\n")
        return message

    return line


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("steps=0", "steps=0: expected a whole number of at least 1"),
        ("steps=1.5", "steps=1.5: expected a whole number of at least 1"),
        ("seed=one", "seed=one: expected a whole number of at least 0 and at most 4294967295"),
        ("resume=maybe", "resume=maybe: expected true or false"),
        ("pairs.batch_size=-1", "pairs.batch_size=-1: expected a whole number of at least 1"),
        ("pairs.workers=2.0", "pairs.workers=2.0: expected a whole number of at least 0"),
        ("pairs.anchor=frist", "pairs.anchor=frist: expected first or random; did you mean first?"),
        ("pairs.holdout=bear", "pairs.holdout=bear: expected a list of text; did you mean pairs.holdout=[bear]?"),
        ("pairs.augmentation.min_crop=0", "pairs.augmentation.min_crop=0: expected a number above 0 and at most 1"),
        ("pairs.augmentation.rotate=1", "pairs.augmentation.rotate=1: expected true or false"),
        ("pairs.augmentation=null", "pairs.augmentation=null: expected Augmentation"),
        (
            "pairs.augmentation.crop_size=[480,857]",
            "pairs.augmentation.crop_size=[480,857]: expected [height, width] in pixels, each 8k+1 and at least 17",
        ),
        ("test_size=[9,17]", "test_size=[9,17]: expected [height, width] in pixels, each 8k+1 and at least 17"),
        ("test_size=481", "test_size=481: expected [height, width] in pixels, each 8k+1 and at least 17"),
        ("optim.optimizer.lr=-0.1", "optim.optimizer.lr=-0.1: expected a number of at least 0"),
        ("optim.optimizer.lr=fast", "optim.optimizer.lr=fast: expected a number of at least 0"),
        ("optim.optimizer.nesterov=3", "unknown key optim.optimizer.nesterov"),
        ("+optim.optimizer.nesterov=3", "optim.optimizer.nesterov=3: expected true or false"),
        (
            "trainer.accumulate_grad_batches=0",
            "trainer.accumulate_grad_batches=0: expected a whole number of at least 1",
        ),
        ("data=null", "a config group can't be null: choose one (model=NAME), or leave it out (~logger)"),
        ("~model", "model=null: it can't be replaced; remove this override, or choose model=NAME"),
        ("~pairs", "pairs=null: it can't be replaced; remove this override, or choose pairs=NAME"),
        ("optim.optimizer=null", "optim.optimizer=null: it can't be replaced; remove this override"),
        ("optim.schedule=poly", "optim.schedule=poly: it can't be replaced; remove this override"),
        ("~optim.schedule", "optim.schedule=null: it can't be replaced; remove this override"),
        ("flow.method=null", "flow.method=null: expected FlowMethod"),
        ("flow.method.preset=slow", "flow.method.preset=slow: expected ultrafast or fast or medium"),
        ("test_at_end=null", "test_at_end=null: expected true or false"),
        ("test_at_end={a:1}", "test_at_end={'a':1}: expected true or false"),
        ("optim.optimizer.weight_decay={a:1}", "optim.optimizer.weight_decay={'a':1}: expected a number of at least 0"),
        ("data.split={a:1}", "data.split={'a':1}: expected text"),
    ],
)
def test_a_bad_value_is_one_line(refused: Callable[[str], str], argument: str, line: str) -> None:
    assert refused(argument).startswith(line)


@pytest.mark.parametrize(
    ("name", "argument", "line"),
    [
        ("score", "predictions=3", "predictions=3: expected text"),
        ("score", "output={a:1}", "output={'a':1}: expected text"),
        ("score", "workers=all", "workers=all: expected a whole number of at least 1"),
        ("report", "runs=null", "runs=null: expected text or a list of text"),
        ("report", "runs=[3]", "runs=[3]: expected text or a list of text"),
        ("predict", "anchor={a:1}", "anchor={'a':1}: expected text or a whole number"),
        ("predict", "input=1.5", "input=1.5: expected text or a whole number or a list of text or whole numbers"),
        ("predict", "input=", "input=: expected text or a whole number"),
        ("predict", "input=[]", "input=[]: expected text or a whole number or a list of"),
        ("predict", "output=", "output=: expected text or null"),
        ("report", "runs=", "runs=: expected text"),
        ("report", "strip_sequences=-1", "strip_sequences=-1: expected a whole number of at least 0"),
        ("report", "strip_frames=0", "strip_frames=0: expected a whole number of at least 1"),
        ("report", "worst_frames=0.5", "worst_frames=0.5: expected a whole number of at least 0"),
        ("evaluate", "checkpoint=", "checkpoint=: expected text or null"),
        ("evaluate", "checkpoint=1.5", "checkpoint=1.5: expected text"),
        ("evaluate", "size={a:1}", "size={'a':1}: expected [height, width] in pixels"),
        ("evaluate", "batch_size=all", "batch_size=all: expected a whole number of at least 1"),
        (
            "benchmark",
            "inference.precisions=[fp8]",
            "inference.precisions=['fp8']: expected a list of fp32 or tf32 or bf16",
        ),
        ("benchmark", "inference.backends=[0]", "inference.backends=[0]: expected a list of text"),
    ],
)
def test_a_key_without_a_default_has_a_type(run: Callable[..., Any], name: str, argument: str, line: str) -> None:
    given = {"score": ["predictions=a"], "report": ["runs=a"], "predict": ["input=a"], "benchmark": ["what=inference"]}
    usual = [given for given in given.get(name, ()) if given.partition("=")[0] != argument.partition("=")[0]]
    ended = run(command(name)(lambda _: pytest.fail("the command ran")), *usual, argument)
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended.err
    assert ended.err.startswith(f"adnet: {line}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["scale=lite", "optim.optimizer.lr=1", "trainer.gradient_clip_val=0.5"],
        ["trainer.devices=[0,1]", "trainer.precision=bf16-mixed", "trainer.accelerator=cpu", "trainer.devices=2"],
        ["pairs.holdout=[bear]", "pairs.anchor=random", "data.sequences=[bear]", "optim.new_layers_lr=0.5"],
        ["data=synthetic", "data.size=[64,112]", "logger=wandb", "test_size=[17,25]"],
    ],
)
def test_good_values_pass(run: Callable[..., Any], arguments: list[str]) -> None:
    seen: list[Any] = []
    ended = run(command("train")(seen.append), *arguments)
    assert (ended.code, ended.err, len(seen)) == (0, "", 1)


def target(
    plain: int,
    maybe: float | None = None,
    pair: tuple[int, int] = (1, 2),
    word: Literal["one", "two"] | bool = "one",
    many: list[str] | str = "",
    path: Path = Path(),
    anything: Any = None,
) -> None:
    """What a config builds."""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"plain": True}, "a whole number"),
        ({"plain": None}, "a whole number"),
        ({"maybe": "x"}, "a number or null"),
        ({"pair": [1]}, "a list of a whole number and a whole number"),
        ({"pair": [1, "2"]}, "a list of a whole number and a whole number"),
        ({"word": "tow"}, "one or two or true or false; did you mean two?"),
        ({"many": [1]}, "a list of text or text"),
        ({"path": 1}, "a path"),
        ({"maybe": 1, "pair": [3, 4], "word": False, "many": ["a"], "path": "x", "anything": 1.5}, None),
        ({"plain": 3, "maybe": None, "many": "a", "anything": [None], "word": "two"}, None),
    ],
)
def test_values_are_held_against_annotations(given: dict[str, Any], expected: str | None) -> None:
    cfg = OmegaConf.create({"it": {"_target_": f"{__name__}.target", **given}})
    if expected is None:
        check_against(cfg, cfg)
    else:
        with pytest.raises(UserError) as error:
            check_against(cfg, cfg)
        assert str(error.value).endswith(f": expected {expected}")


def keys(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in node.items():
        yield f"{path}{key}"
        if isinstance(value, Mapping):
            yield from keys(value, f"{path}{key}.")


def test_types_name_keys_that_there_are() -> None:
    found: set[str] = set()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for name, overrides in (
            *((file.stem, []) for file in conf_dir().glob("*.yaml")),
            ("train", ["optim=adamw"]),
        ):
            found.update(keys(OmegaConf.to_container(hydra.compose(name, overrides))))  # type: ignore[arg-type]
    assert TYPES.keys() <= found
