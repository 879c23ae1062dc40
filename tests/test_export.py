from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adnet import export
from adnet.backends.export import calibration_inputs
from adnet.backends.runtime import ExportedModel
from adnet.data import davis2016, read_frame
from adnet.data.flow import OpticalFlow, SequenceFlow
from adnet.inference import load_checkpoint
from adnet.models import ADNet, upsample


@pytest.fixture
def tiny_model_config(tiny_model_config: dict[str, Any]) -> dict[str, Any]:
    """Of a larger backbone, since 8 bits leave too little of the untrained logits of timm's smallest."""
    return tiny_model_config | {"encoder": tiny_model_config["encoder"] | {"backbone": "resnet10t"}}


@pytest.fixture
def checkpoint(tmp_path: Path, tiny_model_config: dict[str, Any], tiny_model: ADNet) -> Path:
    path = tmp_path / "last.ckpt"
    torch.save(
        {
            "state_dict": {f"model.{key}": value for key, value in tiny_model.state_dict().items()},
            "hyper_parameters": {"model": tiny_model_config, "test_size": [65, 97]},
        },
        path,
    )
    return path


def test_export_writes_what_runs(
    run: Callable[..., Any], checkpoint: Path, tiny_model: ADNet, tiny_davis: Path
) -> None:
    pytest.importorskip("nncf")
    output = checkpoint.parent / "out"
    arguments = [f"checkpoint={checkpoint}", "format=openvino", f"output={output}", f"data.root={tiny_davis}"]
    ended = run(export.main, *arguments, "int8=true", "calibration_frames=3")
    assert ended.code == 0, ended.err
    assert "largest difference of logits" in ended.out
    metadata = json.loads((output / "export.json").read_text())
    assert (metadata["format"], metadata["int8"], metadata["size"]) == ("openvino", True, [65, 97])
    assert len(metadata["checkpoint_sha256"]) == 64
    assert {*metadata["sha256"], "export.json"} == {file.name for file in output.iterdir()}
    model, exported = tiny_model.eval(), ExportedModel(output)
    files = sorted(tiny_davis.glob("JPEGImages/480p/*/00000.jpg"))
    anchor, frame = (
        upsample(torch.from_numpy(read_frame(file)).permute(2, 0, 1)[None] / 255, (41, 121)) for file in files[:2]
    )
    with torch.inference_mode():
        expected = model(anchor, frame)
        got = exported.segment(exported.embed(anchor), exported.embed(frame))
    assert (got - expected).abs().max() < 0.2 * expected.abs().max()

    # A second time, nothing is overwritten.
    ended = run(export.main, *arguments)
    assert ended.code == 1
    assert "already exists" in ended.err


def test_without_int8_nothing_is_calibrated(
    run: Callable[..., Any], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def export_model(_: ADNet, *rest: Any) -> Any:
        given.extend(rest)
        return SimpleNamespace(metadata={"largest_difference": 1e-6})

    monkeypatch.setattr("adnet.backends.export.export_model", export_model)
    output = checkpoint.parent / "out"
    ended = run(export.main, f"checkpoint={checkpoint}", "format=openvino", f"output={output}")
    assert (ended.code, "1.0e-06 of the largest logit" in ended.out) == (0, True)
    assert given[:4] == [(65, 97), output, "openvino", []]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["format=tflite"], "format=tflite: choose from onnx, openvino"),
        (["format=torch"], "format=torch: choose from onnx, openvino"),
        (["size=[64,96]"], "8k+1"),
        (
            ["format=openvino", "int8=true", "calibration_frames=0"],
            "calibration_frames=0: expected a whole number of at least 1",
        ),
        (["checkpoint=none.ckpt"], "no checkpoint none.ckpt"),
    ],
)
def test_mistakes_are_one_line(run: Callable[..., Any], checkpoint: Path, arguments: list[str], message: str) -> None:
    output = checkpoint.parent / "out"
    ended = run(export.main, f"checkpoint={checkpoint}", f"output={output}", *arguments)
    assert ended.code == 1
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not output.exists()


def test_calibration_inputs_come_from_every_sequence(tiny_davis: Path) -> None:
    dataset = davis2016(tiny_davis, "train")
    for flow in (None, SequenceFlow(OpticalFlow())):
        inputs = calibration_inputs(dataset, 3, (17, 25), flow)
        assert [len(given) for given in inputs] == [1 if flow is None else 2] * 3
        assert {tuple(tensor.shape) for given in inputs for tensor in given} == {(1, 3, 17, 25)}
        assert all(0 <= tensor.min() <= tensor.max() <= 1 for given in inputs for tensor in given)
        assert not torch.equal(inputs[0][0], inputs[1][0])
        assert not torch.equal(inputs[0][0], inputs[2][0])


def test_weights_alone_are_a_checkpoint_of_half_the_size(
    run: Callable[..., Any], checkpoint: Path, tiny_model: ADNet
) -> None:
    output = checkpoint.parent / "weights"
    arguments = (f"checkpoint={checkpoint}", "format=safetensors", f"output={output}")
    ended = run(export.main, *arguments, "size=[33,57]")
    assert ended.code == 0, ended.err
    assert sorted(path.name for path in output.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "# weights\n" in (output / "README.md").read_text()
    model, size = load_checkpoint(output)
    assert size == (33, 57)
    anchor, frame = torch.rand(2, 1, 3, 33, 57)
    with torch.inference_mode():
        torch.testing.assert_close(model(anchor, frame), tiny_model.eval()(anchor, frame), atol=0.01, rtol=0.01)
    ended = run(export.main, *arguments)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "is not an empty folder" in ended.err

    published = Path(__file__).parents[1] / "experiments" / "beyond" / "released.json"
    scored = checkpoint.parent / "scored"
    ended = run(export.main, *arguments[:2], f"output={scored}", f"scores={published}")
    assert ended.code == 0, ended.err
    assert "| J mean | " in (scored / "README.md").read_text()
    ended = run(export.main, *arguments[:2], f"output={checkpoint.parent / 'none'}", f"scores={checkpoint}")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "cannot be read as JSON" in ended.err
