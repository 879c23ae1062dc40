from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_both_ways_are_trained_and_timed(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet.benchmark import __main__ as benchmark

    words = ("scale=smoke", "model.encoder.backbone=resnet10t", "model.encoder.multi_grid=null", "pairs.workers=0")
    words += (f"flow.cache={tmp_path / 'flow'}",)
    ended = run(
        benchmark.main,
        "what=training",
        "model=full_motion",
        "model.decoder=true",
        f"data.root={tiny_davis}",
        "model.encoder.pretrained=false",
        f"training.overrides=[{','.join(repr(word) for word in words)},'trainer.accelerator=cpu']",
        "training.steps=1",
        "training.warmup=1",
        "training.rounds=1",
        "training.precisions=[bf16]",
        "output=speed.json",
    )
    assert ended.code == 0, ended.err
    measured = json.loads(Path("speed.json").read_text())
    assert (measured["variant"], measured["backbone"], measured["workers"]) == ("full_motion", "resnet10t", 0)
    ways = measured["ways"]
    assert set(ways) == {"adnet", "plain", "adnet bf16"}
    assert [way["precision"] for way in ways.values()] == ["fp32", "fp32", "bf16"]
    assert (measured["device"], measured["clock_mhz"]) == ("cpu", None)
    for way in ways.values():
        assert way["pairs_per_second"] > 0
        peak = measured["precisions_matmul_gflops_per_second"][way["precision"]]
        assert way["share_of_matmul_peak"] == pytest.approx(
            measured["gflops_per_pair"] * way["pairs_per_second"] / peak
        )
        assert 0 < way["data_wait"] < 1  # without workers each pair is waited for
        assert way["loading_seconds_per_pair"] > 0
    assert measured["gain"] == ways["adnet"]["pairs_per_second"] / ways["plain"]["pairs_per_second"]
    assert "gain over the plain way" in ended.out
    assert len([*(tmp_path / "flow").glob("*/*.npy")]) == 8  # of both training sequences, so that no step computes any


def test_the_workers_are_those_that_loaded(tiny_davis: Path, tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which on a GPU are as many as its share of the CPUs, where `pairs.workers` doesn't say."""
    import hydra
    import torch
    from hydra.utils import instantiate

    from adnet.benchmark.training import OURS, _fit
    from adnet.data import datamodule
    from adnet.shared.command import conf_dir

    words = ["scale=smoke", f"data.root={tiny_davis}", "pairs.pin_memory=false", "pairs.augmentation.crop_size=[33,57]"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = hydra.compose("train", words)
    monkeypatch.setattr(datamodule.PairDataModule, "on_gpu", True)
    monkeypatch.setattr(datamodule, "available_cpus", lambda: 2)
    dataset = instantiate(settings.data, split="train")
    measured = _fit(settings, dataset, None, tiny_model, OURS, 0, 1, torch.device("cpu"))
    assert measured["workers"] == 1


def test_loading_includes_the_flow(tiny_davis: Path) -> None:
    import hydra
    import torch
    from hydra.utils import instantiate

    from adnet.benchmark.training import PLAIN, _data
    from adnet.data.flow import OpticalFlow, SequenceFlow
    from adnet.shared.command import conf_dir

    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = hydra.compose("train", ["scale=smoke", f"data.root={tiny_davis}"])
    dataset = instantiate(settings.data, split="train")
    pair = _data(settings, dataset, SequenceFlow(OpticalFlow()), PLAIN, 1).training_pairs(start=0, length=1)[0]
    assert pair["flow"].shape == pair["frame"].shape
    assert pair["flow"].dtype == torch.float32


@pytest.mark.parametrize("extended", [False, True], ids=["paper's", "motion and decoder"])
def test_ways_are_the_same_network(tiny_model_config: dict[str, Any], extended: bool) -> None:
    """Same loss, whichever way: in eval mode, since batch norm sees other batches."""
    import torch
    from hydra.utils import instantiate

    from adnet.benchmark.training import OURS, PARTS, PLAIN, _PlainModule
    from adnet.training import SegmentationModule

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
    for way in (OURS, PLAIN, *PARTS.values()):
        module = _PlainModule(tiny_model.eval(), None, None)  # type: ignore[arg-type]
        module.way = way
        losses.append(module.training_step(batch, 0))
    assert torch.allclose(torch.stack(losses), losses[0], rtol=1e-5)
