"""Every backend gives the logits of the network that it came from."""

from __future__ import annotations

import copy
import ctypes
import hashlib
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from networks import settle
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.models import efficientnet
from torch import nn
from torch._dynamo.testing import CompileCounter

from adnet.backends import export, load, runtime
from adnet.backends.export import export_model, synthetic_inputs, with_standard_layers
from adnet.backends.load import load_backend
from adnet.backends.runtime import DamagedExportError, ExportedModel, for_inference
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter
from adnet.models import ADNet
from adnet.models.adnet import no_motion
from adnet.models.depthwise import DepthwiseConv2d, DepthwiseConv2dSame

SIZE = (65, 97)


def checkpoint(config: dict[str, Any], model: ADNet, path: Path) -> Path:
    torch.save(
        {
            "state_dict": {f"model.{key}": value for key, value in model.state_dict().items()},
            "hyper_parameters": {"model": config, "test_size": list(SIZE)},
        },
        path,
    )
    return path


def with_motion_and_decoder(config: dict[str, Any]) -> dict[str, Any]:
    encoder = config["encoder"] | {"backbone": "test_resnet"}
    extended = {"variant": "full_motion", "decoder": True, "motion": {**encoder}}
    return config | extended | {"encoder": encoder | {"shallow": True}}


def with_same_padding(config: dict[str, Any], output_stride: int, backbone: str = "tf_efficientnet_lite0") -> ADNet:
    """A network whose backbone pads as TensorFlow does, with features of the size that a trained network's have."""
    stride = {"stages": 4, "output_stride": output_stride}
    encoders = {name: config[name] | stride for name in ("encoder", "motion") if name in config}
    encoders["encoder"] |= {"backbone": backbone}
    torch.manual_seed(0)
    return settle(instantiate(config | encoders), SIZE)


def logits(model: Any, anchor: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.segment(model.embed(anchor), model.embed(frames))


@pytest.fixture
def changed(tiny_model_config: dict[str, Any]) -> ADNet:
    """A network with an auxiliary head, whose statistics are not the initial ones."""
    torch.manual_seed(0)
    config = copy.deepcopy(tiny_model_config) | {"aux_weight": 0.4}
    model: ADNet = instantiate(config)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.normal_(norm.running_mean, std=0.1)
    return model.eval()


def test_for_inference_is_the_same_network(changed: ADNet) -> None:
    fast = for_inference(changed)
    anchor, frames = torch.rand(1, 3, *SIZE), torch.rand(2, 3, *SIZE)
    expected = logits(changed, anchor, frames)
    torch.testing.assert_close(logits(fast, anchor, frames), expected, rtol=1e-3, atol=1e-4)
    kinds = {type(module) for module in fast.modules()}
    assert nn.BatchNorm2d not in kinds
    assert fast.aux is None
    assert changed.aux is not None
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_for_inference_takes_other_weights(changed: ADNet) -> None:
    other = copy.deepcopy(changed)
    for parameter in other.parameters():
        parameter.data.mul_(1.5)
    frames = torch.rand(2, 1, 3, *SIZE)
    first, second = for_inference(changed), for_inference(other)
    expected = logits(second, *frames)
    assert not torch.allclose(logits(first, *frames), expected, rtol=0.1)
    first.load_state_dict(second.state_dict())
    torch.testing.assert_close(logits(first, *frames), expected)


@pytest.mark.parametrize("extended", [False, True], ids=["paper's", "motion and decoder"])
def test_compile_runs_each_frame_in_one_graph(
    tmp_path: Path, tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, extended: bool
) -> None:
    config = with_motion_and_decoder(tiny_model_config) if extended else tiny_model_config
    path = checkpoint(config, instantiate(config), tmp_path / "last.ckpt")
    given: list[int] = []
    constants: list[set[int]] = []

    def counting(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        constants.append({parameter.data_ptr() for parameter in graph.parameters()})

        def call(*inputs: torch.Tensor) -> Any:
            given.append(len(inputs))
            return graph(*inputs)

        return call

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counting))
    compiled, size = load_backend(path, "compile", "cpu")
    plain, _ = load_backend(path, "torch", "cpu")
    video = np.random.default_rng(0).integers(0, 256, (3, 40, 70, 3), np.uint8)
    got, expected = (list(VideoSegmenter(model, Protocol("test"), size).segment(video)) for model in (compiled, plain))
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert given == [1 + extended] * 3  # each frame and its flow; all else is constant
    assert isinstance(compiled, ADNet)
    encoders = [compiled.encoder, *([compiled.motion] if compiled.motion else [])]
    assert constants == [{parameter.data_ptr() for part in encoders for parameter in part.parameters()}]


@pytest.mark.nightly
def test_compile_compiles_for_more_sizes_than_pytorch_would(
    tmp_path: Path, tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tiny_model_config, instantiate(tiny_model_config), tmp_path / "last.ckpt")
    counter = CompileCounter()
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    compiled, _ = load_backend(path, "compile", "cpu")
    for width in range(33, 33 + 8 * 11, 8):
        with torch.inference_mode():
            compiled.encode(torch.rand(1, 3, 33, width))
    assert counter.frame_count == 11


def test_compile_without_a_compiler_is_one_line(
    tmp_path: Path, tiny_model_config: dict[str, Any], tiny_model: ADNet
) -> None:
    path = checkpoint(tiny_model_config, tiny_model, tmp_path / "last.ckpt")
    # pytest's monkeypatch would delete the setting on its way out, and later tests could not compile.
    with (
        torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "g++"))}),
        pytest.raises(UserError, match=r"^backend=compile needs a C\+\+ compiler"),
    ):
        load_backend(path, "compile", "cpu")


def test_released_weights_without_a_home_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    for name in ("HOME", "USERPROFILE", "ADNET_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", nobody)
    with pytest.raises(UserError, match=r"this user has no home folder; .* ADNET_CACHE"):
        load_backend(None, "openvino")


def opened(folder: Path) -> Path:
    """Stands for an export that is whole if there is one."""
    if not folder.is_dir():
        raise DamagedExportError
    return folder


def test_an_export_by_another_version_is_not_taken(
    tmp_path: Path, tiny_model_config: dict[str, Any], tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tiny_model_config, tiny_model, tmp_path / "last.ckpt")
    exported: list[Path] = []

    def export(_: ADNet, __: tuple[int, int], output: Path, *___: Any) -> Path:
        exported.append(output)
        output.mkdir()
        return output

    monkeypatch.setattr(load, "export_model", export)
    monkeypatch.setattr(load, "ExportedModel", opened)
    for version, revision in (("0.2.0", 1), ("0.2.0", 1), ("0.2.0", 2), ("0.3.0", 2)):
        monkeypatch.setattr(load, "__version__", version)
        monkeypatch.setattr(load, "REVISION", revision)
        assert load_backend(path, "onnx")[0] == exported[-1]
    assert len(exported) == 3


@pytest.mark.parametrize("backbone", ["resnet10t", "tf_efficientnet_lite0"])
def test_plain_is_the_same_network_of_standard_convolutions(tiny_model_config: dict[str, Any], backbone: str) -> None:
    tiny_model_config["encoder"]["backbone"] = backbone
    model: ADNet = instantiate(tiny_model_config).eval()
    anchor, frame = torch.rand(2, 1, 3, 41, 73)
    exportable = with_standard_layers(model)
    torch.testing.assert_close(logits(exportable, anchor, frame), logits(model, anchor, frame), rtol=1e-3, atol=1e-4)
    assert not {DepthwiseConv2d, DepthwiseConv2dSame} & {*map(type, exportable.modules())}


def test_standard_layers_keep_what_depends_on_the_frames_size(tiny_model_config: dict[str, Any]) -> None:
    model = with_same_padding(tiny_model_config, 16)
    exportable = with_standard_layers(model)
    for shape in ((64, 100), (73, 121), (65, 97), (79, 110)):
        anchor, frame = torch.rand(2, 1, 3, *shape)
        expected = logits(model, anchor, frame)
        torch.testing.assert_close(logits(exportable, anchor, frame), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 17), (18, 31)])
@pytest.mark.parametrize(
    "layer",
    [
        *(Conv2dSame(1, 1, kernel, stride, dilation=dilation) for kernel, stride, dilation in
          [(1, 2, 1), (2, 1, 1), (3, 2, 1), (5, 2, 2), (4, 4, 1), (7, 3, 1)]),
        AvgPool2dSame(2, 1),
        AvgPool2dSame(3, 2),
    ],
    ids=str,
)  # fmt: skip
def test_same_padding_is_timms(layer: nn.Module, size: tuple[int, int]) -> None:
    x = torch.rand(1, 1, *size)
    expected = layer(x)
    standard = copy.deepcopy(layer)
    standard.__class__ = export._STANDARD[type(layer)]
    torch.testing.assert_close(standard(x), expected)


@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("backbone", "output_stride"),
    [
        ("test_efficientnet", 16),
        pytest.param("tf_efficientnet_lite0", 16, marks=pytest.mark.nightly),
        pytest.param("tf_efficientnet_lite0", 8, marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize("backend", ["openvino", pytest.param("onnx", marks=pytest.mark.nightly)])
def test_an_export_is_the_same_network_at_every_size(
    tmp_path: Path,
    tiny_model_config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    backbone: str,
    output_stride: int,
) -> None:
    """Sides of 8k + 1 become even at stride 16, unless they are 16k + 1: there, TensorFlow's padding is not symmetric."""
    pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
    padded = partial(
        efficientnet._gen_test_efficientnet, pad_type="same"
    )  # timm's smallest, as if TensorFlow had made it
    monkeypatch.setattr(efficientnet, "_gen_test_efficientnet", padded)
    model = with_same_padding(with_motion_and_decoder(tiny_model_config), output_stride, backbone)
    assert {Conv2dSame, DepthwiseConv2dSame} <= {*map(type, model.modules())}
    exported = export_model(model, SIZE, tmp_path / "out", backend)
    assert exported.needs_flow
    for height, width in ((17, 17), (25, 33), (65, 89), (73, 97), (89, 137)):
        anchor, (frame, flow) = torch.rand(1, 3, height, width), torch.rand(2, 2, 3, height, width)
        with torch.inference_mode():
            X_0, Y_0 = model.embed(anchor), exported.embed(anchor)
            for given in (flow, None):
                expected = model.segment(X_0, model.encode(frame, given))
                assert expected.shape == (2, 1, height // 2 + 1, width // 2 + 1)
                got = exported.segment(Y_0, exported.encode(frame, given))
                for one in (got, exported.logits(Y_0, frame, given)):
                    assert (one - expected).abs().max() < 1e-3 * expected.abs().max(), (height, width)
            blind = expected
            assert (model.segment(X_0, model.encode(frame, flow)) - blind).abs().max() > 0.01 * blind.abs().max()


@pytest.fixture
def converted(exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What `tiny_model` is converted to for OpenVINO is there already."""
    pytest.importorskip("openvino")
    folder = exported("openvino")

    def copy_files(_: Any, __: Any, ___: Any, file: Path) -> None:
        for suffix in (".xml", ".bin"):
            shutil.copy(folder / file.with_suffix(suffix).name, file.with_suffix(suffix))

    monkeypatch.setattr(runtime.FORMATS["openvino"], "write", copy_files)


@pytest.mark.usefixtures("converted")
def test_an_export_checks_itself_where_sides_are_even_at_stride_16(
    tmp_path: Path, tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ExportedModel.logits

    def wrong_there(self: ExportedModel, *given: Any) -> torch.Tensor:
        found = right(self, *given)
        return found + 0.1 * (found.shape[-2] % 2 == 0 and found.shape[-1] % 2 == 0)

    monkeypatch.setattr(ExportedModel, "logits", wrong_there)
    with pytest.raises(UserError, match=r"differ from .* nothing was written"):
        export_model(tiny_model.eval(), SIZE, tmp_path / "out", "openvino")


@pytest.mark.parametrize(
    ("backend", "variant"),
    [
        ("torch", "full"),
        ("openvino", "full"),
        ("openvino", "baseline"),
        pytest.param("onnx", "full", marks=pytest.mark.slow),
    ],
)
def test_a_backend_gives_the_networks_logits(
    tmp_path: Path,
    tiny_model_config: dict[str, Any],
    tiny_model: ADNet,
    shared_checkpoint: Path,
    backend: str,
    variant: str,
) -> None:
    if backend != "torch":
        pytest.importorskip("onnxruntime" if backend == "onnx" else "openvino")
    model, path = tiny_model.eval(), shared_checkpoint
    if variant == "baseline":
        tiny_model_config["variant"] = variant
        tiny_model_config["encoder"]["embedding_channels"] = 1
        model = instantiate(tiny_model_config).eval()
        path = checkpoint(tiny_model_config, model, tmp_path / "last.ckpt")
    loaded, size = load_backend(path, backend, "cpu")
    assert size == SIZE
    assert (loaded.variant, loaded.needs_anchor, loaded.takes_several_anchors, loaded.device.type) == (
        variant,
        model.needs_anchor,
        model.takes_several_anchors,
        "cpu",
    )
    for shape in ((65, 97), (41, 121)):  # the first as exported, the second not
        anchor, frames = torch.rand(1, 3, *shape), torch.rand(2, 3, *shape)
        expected = logits(model, anchor, frames)
        torch.testing.assert_close(logits(loaded, anchor, frames), expected, rtol=1e-3, atol=1e-5)

    # A whole video, through the same door as PyTorch.
    video = list(np.random.default_rng(0).integers(0, 256, (2, 40, 70, 3), dtype=np.uint8))
    maps = []
    for each in (model, loaded):
        segmenter = VideoSegmenter(each, Protocol("test", mirror=True), size)
        segmenter.start(video[0])
        maps.append(segmenter.step(video[1]))
    np.testing.assert_allclose(*maps, atol=1e-4)

    if backend != "torch":
        # The second time, what the first has left is taken.
        [folder] = path.parent.glob(f"last-{backend}-*")
        before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
        load_backend(path, backend)
        load_backend(folder, backend)
        load_backend(folder / "export.json", backend)
        assert before == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
        with pytest.raises(UserError, match="8k \\+ 1"):
            loaded.embed(torch.rand(1, 3, 64, 97))


def test_an_onnx_file_never_holds_the_matrix_of_attention(exported: Callable[[str], Path], tiny_model: ADNet) -> None:
    """ONNX Runtime's own word for every tensor that it computes, on a grid that the blocks do not divide evenly."""
    onnx, onnxruntime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    network = onnx.load(exported("onnx") / "segment.onnx")
    names = [name for node in network.graph.node for name in node.output]
    network.graph.output.extend(onnx.ValueInfoProto(name=name) for name in {*names} - {network.graph.output[0].name})
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    given = torch.rand(2, 1, 8, 23, 31)
    inputs = {argument.name: tensor.numpy() for argument, tensor in zip(session.get_inputs(), given, strict=True)}
    computed = session.run(None, inputs)
    with torch.inference_mode():
        np.testing.assert_allclose(computed[0], tiny_model.eval().segment(*given), rtol=1e-4, atol=1e-6)
    assert max(array.size for array in computed) < (23 * 31) ** 2 / 25


def test_several_anchors_of_an_export(tmp_path: Path, tiny_model_config: dict[str, Any]) -> None:
    pytest.importorskip("openvino")
    model: ADNet = instantiate(tiny_model_config | {"variant": "cross"}).eval()
    fusion, openvino = export._parts(model)[1], runtime.FORMATS["openvino"]
    openvino.write(fusion.module, fusion.example, fusion.names, tmp_path / "segment.xml")
    segment = openvino.open(tmp_path / "segment.xml")
    anchors, frame = torch.rand(1, 8, 18, 13), torch.rand(1, 8, 9, 13)
    with torch.inference_mode():
        torch.testing.assert_close(segment(anchors, frame)[0], model.segment(anchors, frame), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "extended", [pytest.param(False, marks=pytest.mark.nightly), True], ids=["paper's", "motion and decoder"]
)
def test_int8_is_near_and_made_once_from_synthetic_videos(
    tmp_path: Path, tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, extended: bool
) -> None:
    """And Python's handlers of signals keep their stack: they would overflow the one of a thread in which OpenVINO compiles."""
    pytest.importorskip("nncf")
    before = signal_stack() if sys.platform == "linux" else None
    config = with_motion_and_decoder(tiny_model_config) if extended else tiny_model_config
    torch.manual_seed(0)
    model: ADNet = instantiate(config)
    path = checkpoint(config, model, tmp_path / "last.ckpt")
    monkeypatch.setattr(load, "CALIBRATION_FRAMES", 2)
    loaded, size = load_backend(path, "openvino_int8")
    assert size == SIZE
    assert isinstance(loaded, ExportedModel)
    assert loaded.metadata["int8"] is True
    assert before is None or signal_stack() == before
    [folder] = [entry for entry in tmp_path.iterdir() if entry.is_dir()]
    assert "FakeQuantize" in (folder / "embed.xml").read_text()
    # The fusion's convolutions, too, but not its attention.
    fusion = ElementTree.parse(folder / "segment.xml").getroot()
    layers = {layer.get("id"): layer for layer in fusion.iter("layer")}
    assert "FakeQuantize" in [layer.get("type") for layer in layers.values()]
    edges = [(layers[edge.get("from-layer")], layers[edge.get("to-layer")]) for edge in fusion.iter("edge")]
    into = [source.get("type") for source, target in edges if target.get("type") == "ScaledDotProductAttention"]
    assert len(into) == 2 * 3
    assert "FakeQuantize" not in into
    (anchor, *_), (frame, *flow) = synthetic_inputs(2, SIZE, extended)
    with torch.inference_mode():
        expected = model.eval().segment(model.embed(anchor), model.encode(frame, *flow))
        got = loaded.logits(loaded.embed(anchor), frame, *flow)
    assert 0 < float((got - expected).abs().max()) < 0.2 * float(expected.abs().max())

    files = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    monkeypatch.setitem(sys.modules, "nncf", None)  # which only the first time needs
    for given, backend in ((path, "openvino_int8"), (folder, "openvino_int8"), (folder, "openvino")):
        assert load_backend(given, backend)[1] == SIZE
    assert files == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    monkeypatch.setattr(load, "CALIBRATION_FRAMES", 3)
    with pytest.raises(UserError, match=r"^backend=openvino_int8 needs the extra: pip install 'adnet\[openvino\]'$"):
        load_backend(path, "openvino_int8")  # another calibration is another export


def test_synthetic_calibration_moves() -> None:
    inputs, again = synthetic_inputs(2, SIZE, flow=True), synthetic_inputs(2, SIZE)
    for (frame, flow), (same,) in zip(inputs, again, strict=True):
        assert frame.shape == flow.shape == (1, 3, *SIZE)
        assert torch.equal(frame, same)
        assert (flow - no_motion(frame)).abs().max() > 0.2
        assert 0 <= frame.min() < frame.max() <= 1
    assert not torch.equal(inputs[0][0], inputs[1][0])


def signal_stack() -> tuple[int | None, int]:
    """Address and flags of this thread's alternate signal stack."""

    class Stack(ctypes.Structure):
        _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.address, stack.flags


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export as it lies on disk; what would run its files is a stub."""
    monkeypatch.setattr(runtime.FORMATS["openvino"], "open", lambda *files: files[0].read_text)
    described: dict[str, Any] = {"format": "openvino", "variant": "full", "size": list(SIZE), "sha256": {}}
    for name in ("embed.xml", "embed.bin", "segment.xml", "segment.bin"):
        (tmp_path / name).write_text(f"of {name}")
        described["sha256"][name] = hashlib.sha256(f"of {name}".encode()).hexdigest()
    described |= {"needs_anchor": True, "takes_several_anchors": False}
    (tmp_path / "export.json").write_text(json.dumps(described))
    (tmp_path / "notes.txt").write_text("of the user's")
    return tmp_path


@pytest.mark.parametrize("name", ["embed.xml", "embed.bin", "segment.xml", "segment.bin"])
def test_an_export_is_opened_whole_or_not_at_all(written: Path, name: str) -> None:
    assert load_backend(written, "openvino")[1] == SIZE
    (written / name).write_text("another's")
    with pytest.raises(UserError, match=rf"^{name} in {written} has changed since the export: .* export again"):
        load_backend(written, "openvino")
    (written / name).unlink()
    with pytest.raises(UserError, match=rf"^the export in {written} lacks {name}: .* export again"):
        load_backend(written, "openvino")


@pytest.mark.parametrize("damage", ["cut off", "missing", "no JSON", "no metadata"])
def test_a_damaged_export_of_a_backend_is_made_anew(
    exported: Callable[[str], Path],
    shared_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    whole, made = exported("onnx"), list[Path]()

    def export(_: ADNet, __: tuple[int, int], output: Path, *___: Any) -> ExportedModel:
        made.append(Path(shutil.copytree(whole, output)))
        return ExportedModel(output)

    monkeypatch.setattr(load, "export_model", export)
    path = shutil.copy(shared_checkpoint, tmp_path / "last.ckpt")
    load_backend(path, "onnx")
    file = made[0] / ("embed.onnx" if damage in ("cut off", "missing") else "export.json")
    if damage in ("missing", "no metadata"):
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-9])
    for _ in range(2):
        model, _ = load_backend(path, "onnx")
        assert model.variant == "full"
    said = [record.getMessage() for record in caplog.records if record.name == load.__name__]
    assert (made, said) == (made[:1] * 2, [f"{made[0]} is damaged: exporting anew"])


def test_two_frames_in_flight_change_no_bit_of_an_export(
    exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a thread and a stream each, or one after the other, as on one core."""
    pytest.importorskip("openvino")
    video = list(np.random.default_rng(0).integers(0, 256, (6, 40, 70, 3), dtype=np.uint8))
    results = []
    for threads in (2, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        segmenter = VideoSegmenter(ExportedModel(exported("openvino")), Protocol("test"), SIZE)
        results.append(list(segmenter.segment(iter(video))))
    np.testing.assert_array_equal(*results)


def test_an_export_that_lists_another_number_of_files(written: Path) -> None:
    metadata = json.loads((written / "export.json").read_text())
    del metadata["sha256"]["segment.xml"]  # as of a baseline, which has none
    (written / "export.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=r"^segment\.xml in .* has changed since the export"):
        load_backend(written, "openvino")
    for without in (metadata | {"sha256": {}}, {key: value for key, value in metadata.items() if key != "sha256"}):
        (written / "export.json").write_text(json.dumps(without))
        with pytest.raises(UserError, match=r"was exported before export\.json listed .* export again"):
            load_backend(written, "openvino")


def test_an_export_of_torch_is_refused(tmp_path: Path) -> None:
    """torch.export unpickles what it loads, and a pickle runs what it likes."""
    for name in ("embed.pt2", "segment.pt2"):
        (tmp_path / name).touch()
    described = {"format": "torch", "variant": "full", "needs_anchor": True, "takes_several_anchors": False}
    (tmp_path / "export.json").write_text(json.dumps(described | {"size": list(SIZE)}))
    for backend in ("torch", "compile", "openvino", "onnx"):
        with pytest.raises(UserError, match=r"has the format 'torch', not one of onnx, openvino: .* export again"):
            load_backend(tmp_path, backend)


def test_a_folder_of_another_backend_and_other_mistakes(tmp_path: Path, tiny_model: ADNet, monkeypatch: Any) -> None:
    (tmp_path / "a").mkdir()
    described = {"variant": "full", "needs_anchor": True, "takes_several_anchors": True, "size": list(SIZE)}
    (tmp_path / "a" / "export.json").write_text(json.dumps(described | {"format": "onnx"}))
    with pytest.raises(UserError, match="backend=onnx, not openvino"):
        load_backend(tmp_path / "a", "openvino")
    (tmp_path / "a" / "export.json").write_text(json.dumps(described | {"format": "openvino", "int8": False}))
    with pytest.raises(UserError, match="backend=openvino, not openvino_int8"):
        load_backend(tmp_path / "a", "openvino_int8")
    (tmp_path / "a" / "export.json").write_text(json.dumps(described | {"format": "tflite"}))
    with pytest.raises(UserError, match="tflite"):
        ExportedModel(tmp_path / "a")
    (tmp_path / "a" / "export.json").write_text("[")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        ExportedModel(tmp_path / "a")
    (tmp_path / "a" / "export.json").unlink()
    with pytest.raises(UserError, match="holds no exported network"):
        ExportedModel(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(UserError, match="choose from torch, compile"):
        load_backend(tmp_path / "a", "tensorrt")
    with pytest.raises(UserError, match="runs on the CPU"):
        load_backend(tmp_path / "a", "openvino", "cuda")
    for device in ("foo", "cuda:99", "meta"):
        with pytest.raises(UserError, match=f"device={device} can't be used .*: give cpu, cuda or cuda:1") as error:
            load_backend(tmp_path / "a", "torch", device)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="no checkpoint"):
        load_backend(tmp_path / "a", "openvino")
    with pytest.raises(UserError, match="format=onnx has no int8: give openvino"):
        export_model(tiny_model, SIZE, tmp_path / "a", "onnx", [(torch.rand(1, 3, *SIZE),)])
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(UserError, match=r"an OpenVINO export needs the extra: pip install 'adnet\[openvino\]'"):
        export_model(tiny_model, SIZE, tmp_path / "a", "openvino")
    assert list(tmp_path.iterdir()) == []  # nothing half-made


def test_a_backend_is_one_module_and_its_name(
    tmp_path: Path, tiny_model_config: dict[str, Any], tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, nn.Module] = {}

    def write(part: nn.Module, _: Any, names: list[str], file: Path) -> None:
        file.write_text(" ".join(names))
        written[file.name] = part

    def read(file: Path) -> Any:
        def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            outputs = written[file.name](*tensors)
            return outputs if isinstance(outputs, tuple) else (outputs,)

        return run

    monkeypatch.setitem(
        runtime.FORMATS, "mine", SimpleNamespace(SUFFIX="own", INT8="", JOINS=False, write=write, open=read)
    )
    model, size = load_backend(checkpoint(tiny_model_config, tiny_model, tmp_path / "last.ckpt"), "mine")
    assert (sorted(written), size) == (["embed.own", "segment.own"], SIZE)
    anchor, frame = torch.rand(2, 1, 3, 33, 57)
    with torch.inference_mode():
        got = model.segment(model.embed(anchor), model.encode(frame))
        torch.testing.assert_close(got, tiny_model.eval()(anchor, frame), rtol=1e-3, atol=1e-5)
    with pytest.raises(UserError, match="choose from torch, compile, onnx, openvino, openvino_int8, mine"):
        load_backend(tmp_path / "last.ckpt", "yours")


@pytest.mark.usefixtures("converted")
def test_an_export_that_differs_is_not_kept(tmp_path: Path, tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ExportedModel.logits
    monkeypatch.setattr(ExportedModel, "logits", lambda self, *given: right(self, *given) + 0.1)
    with pytest.raises(UserError, match=r"differ from .* by .* nothing was written"):
        export_model(tiny_model, SIZE, tmp_path / "a", "openvino")
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_first_uses_exports(
    tmp_path: Path, tiny_model_config: dict[str, Any], tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tiny_model_config, tiny_model, tmp_path / "last.ckpt")
    exported = []

    def export(_: ADNet, __: tuple[int, int], output: Path, *___: Any, **____: Any) -> Path:
        exported.append(output)
        time.sleep(0.3)
        output.mkdir()
        return output

    monkeypatch.setattr(load, "export_model", export)
    monkeypatch.setattr(load, "ExportedModel", opened)
    with ThreadPoolExecutor(3) as pool:
        loaded = list(pool.map(lambda _: load_backend(path, "openvino")[0], range(3)))
    assert loaded == exported * 3


def test_openvino_reports_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino.tools.ovc.telemetry_utils")
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    runtime.FORMATS["openvino"]._library("this")
    assert importlib.reload(telemetry).tm.__name__ == "openvino.tools.ovc.telemetry_stub"


def test_openvino_pins_no_thread_to_a_core(exported: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with pinned threads would both take the first cores. OpenVINO's own default is to pin them."""
    import openvino

    compiled: list[Any] = []
    compile_model = openvino.Core.compile_model

    def recording(*arguments: Any) -> Any:
        compiled.append(compile_model(*arguments))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", recording)
    model = ExportedModel(exported("openvino"))
    model.logits(model.embed(torch.rand(1, 3, 33, 57)), torch.rand(1, 3, 33, 57))
    assert [network.get_property("ENABLE_CPU_PINNING") for network in compiled] == [False] * len(compiled)
    # By default it would be bfloat16 on processors that have it, and masks would depend on the processor.
    assert {str(network.get_property("INFERENCE_PRECISION_HINT")) for network in compiled} == {"<Type: 'float32'>"}
    assert len(compiled) >= 2  # of the anchor, and of a frame
