from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from adnet.errors import UserError
from adnet.inference import load_checkpoint
from adnet.models import ADNet


@pytest.fixture
def content(tiny_model: ADNet, tiny_model_config: dict[str, Any]) -> dict[str, Any]:
    return {
        "hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]},
        "state_dict": {f"model.{name}": value for name, value in tiny_model.state_dict().items()},
    }


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path / "last.ckpt")
    return path / "last.ckpt"


def test_weights_and_test_size_come_back(tiny_model: ADNet, content: dict[str, Any], tmp_path: Path) -> None:
    content["hyper_parameters"]["model"]["encoder"]["pretrained"] = True  # nothing is fetched for it
    model, size = load_checkpoint(str(saved(tmp_path, content)))
    assert (size, model.variant, model.training) == ((33, 57), "full", False)
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


@pytest.mark.parametrize("prefix", ["model._orig_mod.", "module.model.", "_orig_mod.model.", "model.module."])
def test_weights_of_a_wrapped_network(tiny_model: ADNet, content: dict[str, Any], tmp_path: Path, prefix: str) -> None:
    content["state_dict"] = {f"{prefix}{name}": value for name, value in tiny_model.state_dict().items()}
    model, _ = load_checkpoint(saved(tmp_path, content))
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_weights_of_another_network_are_one_short_line(content: dict[str, Any], tmp_path: Path) -> None:
    content["hyper_parameters"]["model"]["encoder"]["backbone"] = "resnet18"
    with pytest.raises(
        UserError, match=r"last\.ckpt doesn't fit the model that it names: it lacks .* more such"
    ) as caught:
        load_checkpoint(saved(tmp_path, content))
    assert len(str(caught.value)) < 400


def test_weights_without_their_network_say_so(tiny_model: ADNet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"doesn't say which network its weights are of; .* model\.weights=FILE"):
        load_checkpoint(saved(tmp_path, {"model": tiny_model.state_dict()}))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint .*nothing\.ckpt"):
        load_checkpoint(tmp_path / "nothing.ckpt")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_torn_off_checkpoint_is_named(content: dict[str, Any], tmp_path: Path, share: float) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    whole = buffer.getvalue()
    (tmp_path / "last.ckpt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"last\.ckpt is not a readable adnet checkpoint") as caught:
        load_checkpoint(tmp_path / "last.ckpt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [{}, [1], {"state_dict": {}}],
    ids=["empty", "list", "weights alone"],
)
def test_checkpoint_of_something_else(content: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"last\.ckpt is not a readable adnet checkpoint"):
        load_checkpoint(saved(tmp_path, content))


@pytest.mark.parametrize("size", [[0, 57], [33, -57], [33.5, 57], ["33", 57], [33, 10**6], [33], 33, None])
def test_a_size_that_no_frame_has_is_one_line(content: dict[str, Any], tmp_path: Path, size: Any) -> None:
    content["hyper_parameters"]["test_size"] = size
    with pytest.raises(UserError) as caught:
        load_checkpoint(saved(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path}/last.ckpt: its test size is {size}, not two whole numbers")


def test_of_a_damaged_checkpoint_of_a_training_the_newest_whole_one_is_named(
    content: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("best", "previous", "last"):
        saved(folder, content).rename(folder / f"{name}.ckpt")
    for name, then in (
        ("last", f"Give checkpoint={folder}/previous.ckpt"),
        ("previous", f"Give checkpoint={folder}/best.ckpt"),
        ("best", "Convert published weights with python -m adnet.convert first"),
    ):
        file = folder / f"{name}.ckpt"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(UserError, match=rf"{name}\.ckpt is not a readable .*; was it cut off\? {then}$"):
            load_checkpoint(file)


@pytest.mark.parametrize(
    "content", [b"hello", b"\x08\x07onnx", b"\x00\x00\x00\x18ftypmp42"], ids=["text", "ONNX", "video"]
)
def test_no_file_of_pytorch_s(content: bytes, tmp_path: Path) -> None:
    """PyTorch's own words are of a key, or recommend to run whatever is in the file."""
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(
        UserError, match=r"model\.onnx is not a readable .*\(it is no file of PyTorch's, or .*\)"
    ) as caught:
        load_checkpoint(tmp_path / "model.onnx")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("folder", ["run", "run/checkpoints"])
def test_the_folder_of_a_training(content: dict[str, Any], tmp_path: Path, folder: str) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    file = saved(tmp_path / "run" / "checkpoints", content)
    with pytest.raises(
        UserError, match=f"{folder} is a folder of a training: give a checkpoint in it, such as {file}$"
    ):
        load_checkpoint(tmp_path / folder)


class Malicious:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_nothing_in_a_checkpoint_is_executed(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_checkpoint(saved(tmp_path, content | {"extra": Malicious(tmp_path / "pickled")}))
    for encoder in (False, True):
        config: dict[str, Any] = {"_target_": "pathlib.Path", "encoder": {}}
        if encoder:
            config = {**content["hyper_parameters"]["model"], "encoder": {"_target_": "pathlib.Path"}}
        content["hyper_parameters"] = {"model": config, "test_size": [33, 57]}
        with pytest.raises(UserError, match="names a model other"):
            load_checkpoint(saved(tmp_path, content))
    assert not (tmp_path / "pickled").exists()


@pytest.mark.parametrize(
    "place", [("dropout",), ("encoder", "aspp_channels"), ("encoder", "backbone"), ("encoder", "aspp_rates")]
)
def test_nothing_in_a_value_is_resolved(content: dict[str, Any], tmp_path: Path, place: tuple[str, ...]) -> None:
    """OmegaConf computes what stands in `${...}`, and Hydra calls what that makes."""
    harm = tmp_path / "harm"
    call = (
        f"{{_target_: adnet.shared.files.write_text, path: {{_target_: pathlib.Path, _args_: [{harm}]}}, content: x}}"
    )
    config: Any = content["hyper_parameters"]["model"]
    for key in place[:-1]:
        config = config[key]
    config[place[-1]] = "${oc.create:'" + call + "'}"
    with pytest.raises(UserError, match=rf"last\.ckpt names a model other .*{place[-1]}") as caught:
        load_checkpoint(saved(tmp_path, content))
    assert not harm.exists()
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(content: dict[str, Any], tmp_path: Path) -> None:
    del content["state_dict"]["model.head.4.weight"]
    with pytest.raises(UserError, match=r"doesn't fit the model that it names: .*head\.4\.weight") as caught:
        load_checkpoint(saved(tmp_path, content))
    assert "\n" not in str(caught.value)
