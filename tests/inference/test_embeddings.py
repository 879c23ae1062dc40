"""Embeddings on disk give back the network's own similarities and distances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from schemas import hold
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch.overrides import TorchFunctionMode

from adnet import evaluate
from adnet.data.datasets import davis2016
from adnet.data.pictures import read_frame
from adnet.errors import UserError
from adnet.inference.embeddings import mean_cosine_distance, pixel_embeddings, quantized, write_embeddings

SIZE = (33, 57)
GRID = (5, 8)


def test_files_hold_what_the_network_says(tiny_model: Any, tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    document = write_embeddings(tiny_model, dataset, SIZE, 2, tmp_path / "out")
    assert hold(tmp_path / "out/embeddings.json") == document
    assert (document["variant"], document["size"]) == ("full", [*SIZE])
    assert list(document["sequences"]) == [sequence.name for sequence in dataset.sequences]
    for sequence in dataset.sequences:
        with np.load(tmp_path / "out/embeddings" / f"{sequence.name}.npz") as arrays:
            assert arrays["names"].tolist() == [sequence.frames[index].stem for index in (0, 2, 3)]
            assert arrays["values"].dtype == np.int8
            assert arrays["values"].shape == (3, *GRID, 8)
            assert arrays["foreground"].shape == arrays["scales"].shape == (3, *GRID)
            assert arrays["thumbnails"].shape[2:] == (480, 3)
            scales = torch.from_numpy(arrays["scales"])[..., None]
            restored = torch.from_numpy(arrays["values"]) * scales
        for index, place in ((0, 0), (-1, 2)):
            embedding = pixel_embeddings(tiny_model, read_frame(sequence.frames[index]), SIZE)[0].permute(1, 2, 0)
            assert ((restored[place] - embedding).abs() <= 0.501 * scales[place]).all()  # rounded to 8 bits


def test_the_curve_is_the_mean_over_all_pairs(tiny_model: Any, tiny_davis: Path, tmp_path: Path) -> None:
    dataset = davis2016(tiny_davis)
    document = write_embeddings(tiny_model, dataset, SIZE, 9, tmp_path)
    for sequence in dataset.sequences:
        curve = document["sequences"][sequence.name]
        assert curve["frames"] == [frame.stem for frame in sequence.frames]
        with np.load(tmp_path / "embeddings" / f"{sequence.name}.npz") as arrays:
            assert len(arrays["names"]) == len(sequence.frames)
            chosen = [
                torch.from_numpy((values * scales[..., None])[mask])
                for values, scales, mask in zip(arrays["values"], arrays["scales"], arrays["foreground"], strict=True)
            ]
        for rows, distance in zip(chosen, curve["distance"], strict=True):
            pairs = cosine_similarity(rows[:, None], chosen[0][None], dim=2)
            assert distance == pytest.approx(float(1 - pairs.mean()), abs=2e-3)


def test_the_baseline_has_no_embedding_but_features(tiny_model_config: dict[str, Any]) -> None:
    tiny_model_config |= {"variant": "baseline", "encoder": tiny_model_config["encoder"] | {"embedding_channels": 1}}
    model = instantiate(tiny_model_config).eval()
    frame = np.zeros((40, 60, 3), np.uint8)
    features = pixel_embeddings(model, frame, SIZE)
    assert features.shape == (1, 8, *GRID)
    image = torch.zeros(1, 3, *SIZE)
    with torch.inference_mode():
        torch.testing.assert_close(model.encoder.project(features), model.embed(image))


def test_no_foreground_on_the_grid_is_no_distance() -> None:
    rows = torch.ones(2, 3)
    assert mean_cosine_distance(rows[:0], rows) is None
    assert mean_cosine_distance(rows, rows[:0]) is None
    assert mean_cosine_distance(rows, 5 * rows) == pytest.approx(0)
    assert mean_cosine_distance(rows, -rows) == pytest.approx(2)


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_quantisation_is_off_by_half_a_step_at_most(seed: int, scale: float) -> None:
    embedding = scale * torch.randn(1, 6, 3, 4, generator=torch.Generator().manual_seed(seed))
    values, scales = quantized(embedding)
    error = np.abs(values * scales[..., None] - embedding[0].permute(1, 2, 0).numpy())
    assert (error <= 0.501 * scales[..., None]).all()


def test_zero_embeddings_stay_zero() -> None:
    values, scales = quantized(torch.zeros(1, 4, 2, 2))
    assert not values.any()
    assert np.isfinite(scales).all()


def test_less_than_a_frame_is_refused(tiny_model: Any, tiny_davis: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="embeddings=-1: give"):
        write_embeddings(tiny_model, davis2016(tiny_davis), SIZE, -1, tmp_path)
    assert list(tmp_path.iterdir()) == [tiny_davis]


def test_evaluate_writes_them(
    tiny_model: Any, tiny_model_config: dict[str, Any], tiny_davis: Path, tmp_path: Path, run: Any
) -> None:
    state = {f"model.{key}": value for key, value in tiny_model.state_dict().items()}
    hyper_parameters = {"model": tiny_model_config, "test_size": SIZE}
    checkpoint = tmp_path / "run/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    torch.save({"state_dict": state, "hyper_parameters": hyper_parameters}, checkpoint)
    ended = run(
        evaluate.main,
        f"checkpoint={checkpoint}",
        f"data.root={tiny_davis}",
        "protocol=single_scale",
        "embeddings=1",
        f"output={tmp_path / 'out'}",
    )
    assert ended.code == 0, ended.err
    document = json.loads((tmp_path / "out/embeddings.json").read_text())
    assert set(document["sequences"]) == {path.stem for path in (tmp_path / "out/embeddings").iterdir()}


def test_an_export_has_none(tiny_davis: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "export").mkdir()
    output = tmp_path / "out"
    ended = run(
        evaluate.main,
        f"checkpoint={tmp_path}/export",
        f"data.root={tiny_davis}",
        "backend=openvino",
        "embeddings=1",
        f"output={output}",
    )
    assert ended.code == 1
    assert ended.err.startswith("adnet: embeddings=1 needs the network itself: give the checkpoint that ")
    assert not output.exists()


class WithoutFloat64(TorchFunctionMode):
    """As on Apple's GPU: there is no float64 but of a tensor that was brought to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.brought: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.double and not any(args[0] is tensor for tensor in self.brought):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        result = func(*args, **(kwargs or {}))
        if func is Tensor.cpu:
            self.brought.append(result)
        return result


def test_a_validation_asks_the_device_for_no_float64() -> None:
    directions, others = torch.rand(5, 8), torch.rand(7, 8)
    expected = 1 - cosine_similarity(directions[:, None], others[None], dim=-1).mean()
    with WithoutFloat64():
        with pytest.raises(TypeError, match="float64"):
            directions.double()
        distance = mean_cosine_distance(directions, others)
    assert distance == pytest.approx(float(expected), abs=1e-6)
