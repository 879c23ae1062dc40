from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data import datamodule, davis2016
from adnet.data.flow import OpticalFlow, SequenceFlow
from adnet.models import ADNet
from adnet.shared.command import conf_dir
from adnet.training import SegmentationModule


@pytest.fixture(scope="module")
def metrics(load_script: Callable[[str], ModuleType]) -> Any:
    return load_script("speed/metrics.py")


@pytest.fixture(scope="module")
def training(load_script: Callable[[str], ModuleType]) -> Any:
    return load_script("speed/training.py")


@pytest.fixture(scope="module")
def published(load_script: Callable[[str], ModuleType]) -> Any:
    return load_script("speed/published.py")


@pytest.fixture
def settings(tiny_davis: Path) -> Callable[..., DictConfig]:
    def compose(*words: str) -> DictConfig:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose("train", ["scale=smoke", f"data.root={tiny_davis}", *words])

    return compose


def test_both_ways_to_score_are_timed_and_agree(metrics: Any, tiny_davis: Path) -> None:
    measured = metrics.measure(davis2016(tiny_davis), frames=3, rounds=1)
    assert (measured["dataset"], measured["frames"], measured["sizes"]) == ("davis2016", 3, [[64, 112]])
    assert measured["largest_difference"] <= 1e-9
    memory, files = measured["frames_per_second"].values()
    assert measured["ratio"] == pytest.approx(memory["adnet"] / memory["published way"])
    assert "1 core" in files
    assert all(speed > 0 for speed in (*memory.values(), *files.values()))


def test_a_wrong_result_is_not_timed(metrics: Any, tiny_davis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_published", lambda *_: (0.5, 0.5))
    with pytest.raises(RuntimeError, match=r"the two ways differ by 0\.\d+"):
        metrics.measure(davis2016(tiny_davis), frames=2, rounds=1)


@pytest.mark.slow
def test_both_ways_to_train_are_timed(training: Any, settings: Callable[..., DictConfig], tmp_path: Path) -> None:
    words = ("model=full_motion", "model.decoder=true", "model.encoder.backbone=test_resnet", "pairs.workers=0")
    words += ("model.encoder.pretrained=false", "model.encoder.multi_grid=null", "trainer.accelerator=cpu")
    measured = training.measure(settings(*words, f"flow.cache={tmp_path / 'flow'}"), steps=1, warmup=1, rounds=1)
    assert (measured["variant"], measured["backbone"], measured["workers"]) == ("full_motion", "test_resnet", 0)
    assert measured["device"] == "cpu"
    ways = measured["ways"]
    assert set(ways) == {"adnet", "plain"}
    for way in ways.values():
        assert way["pairs_per_second"] > 0
        peak = measured["precisions_matmul_gflops_per_second"][way["precision"]]
        assert way["share_of_matmul_peak"] == pytest.approx(
            measured["gflops_per_pair"] * way["pairs_per_second"] / peak
        )
        assert 0 < way["data_wait"] < 1  # without workers each pair is waited for
        assert way["loading_seconds_per_pair"] > 0
    assert measured["gain"] == ways["adnet"]["pairs_per_second"] / ways["plain"]["pairs_per_second"]
    assert len([*(tmp_path / "flow").glob("*/*.npy")]) == 8  # of both training sequences, so that no step computes any


def test_the_workers_are_those_that_loaded(
    training: Any, settings: Callable[..., DictConfig], tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which on a GPU are as many as its share of the CPUs, where `pairs.workers` doesn't say."""
    cfg = settings("pairs.pin_memory=false", "pairs.augmentation.crop_size=[33,57]")
    monkeypatch.setattr(datamodule.PairDataModule, "on_gpu", True)
    monkeypatch.setattr(datamodule, "available_cpus", lambda: 2)
    dataset = instantiate(cfg.data, split="train")
    measured = training._fit(cfg, dataset, None, tiny_model, training.OURS, 0, 1, torch.device("cpu"))
    assert measured["workers"] == 1


def test_loading_includes_the_flow(training: Any, settings: Callable[..., DictConfig]) -> None:
    cfg = settings()
    dataset = instantiate(cfg.data, split="train")
    data = training._data(cfg, dataset, SequenceFlow(OpticalFlow()), training.PLAIN, 1)
    pair = data.training_pairs(start=0, length=1)[0]
    assert pair["flow"].shape == pair["frame"].shape
    assert pair["flow"].dtype == torch.float32


@pytest.mark.parametrize("extended", [False, True], ids=["paper's", "motion and decoder"])
def test_ways_to_train_are_the_same_network(training: Any, tiny_model_config: dict[str, Any], extended: bool) -> None:
    """Same loss, whichever way: in eval mode, since batch norm sees other batches."""
    generator = torch.Generator().manual_seed(0)
    batch: Any = {
        name: torch.randint(0, 256, (2, 3, 33, 57), generator=generator, dtype=torch.uint8)
        for name in ("anchor", "frame")
    } | {"mask": torch.rand(2, 33, 57, generator=generator) > 0.7}
    if extended:
        encoder = tiny_model_config["encoder"]
        tiny_model_config |= {"variant": "full_motion", "decoder": True, "motion": {**encoder}}
        tiny_model_config["encoder"] = encoder | {"shallow": True}
        batch["flow"] = torch.rand(2, 3, 33, 57, generator=generator)
    tiny_model = instantiate(tiny_model_config)
    expected = SegmentationModule(tiny_model.eval(), None, None)  # type: ignore[arg-type]
    expected.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    expected.lr_schedulers = lambda: type("S", (), {"get_last_lr": lambda _: [0]})()  # type: ignore[method-assign]
    losses = [expected.training_step(batch, 0)]
    for way in (training.OURS, training.PLAIN):
        module = training._PlainModule(tiny_model.eval(), None, None)
        module.way = way
        losses.append(module.training_step(batch, 0))
    assert torch.allclose(torch.stack(losses), losses[0], rtol=1e-5)


def test_the_published_way_is_the_same_network(published: Any, tiny_model: ADNet) -> None:
    tiny_model.eval()
    plain = published.PublishedWay(tiny_model)
    anchor, frame = torch.rand(2, 1, 3, 33, 57)
    with torch.inference_mode():
        expected = tiny_model(anchor, frame)
        logits = plain.segment(plain.embed(anchor), plain.encode(frame))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_random_weights_are_measured_beside_the_published_way(published: Any, tiny_davis: Path) -> None:
    small = ["model.encoder.backbone=test_resnet", "model.encoder.multi_grid=null", "model.encoder.aspp_channels=16"]
    small += ["inference.size=[65,113]", "inference.frames=2", "inference.backends=[torch]"]
    measured = published.measure([f"data.root={tiny_davis}", *small])
    assert (measured["backbone"], set(measured["ways"])) == ("test_resnet", {"published", "torch"})
    assert measured["ways"]["published"]["times_published"] == 1
    assert measured["ways"]["published"]["overlapped_frames_per_second"] is None
    assert measured["ways"]["torch"]["pixels_differing"] < 1e-3
