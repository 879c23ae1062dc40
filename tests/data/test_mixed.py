from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from adnet.data import davis2016, images
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule
from adnet.data.flow import OpticalFlow, SequenceFlow
from adnet.data.masks import write_mask
from adnet.data.mixed import Source, mixed
from adnet.data.pairs import TrainingPairs
from adnet.data.videos import VideoDataset
from adnet.errors import UserError
from adnet.models.adnet import no_motion
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir

AUGMENTATION = Augmentation((17, 25), flip=0.5)


@pytest.fixture
def stills(tmp_path: Path) -> VideoDataset:
    """Five images."""
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, 20:40] = True
    for index in range(5):
        for name in ("Image", "Mask"):
            (tmp_path / "stills" / name).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (5, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((60, 40)).save(tmp_path / "stills" / "Image" / f"{index}.jpg")
        write_mask(tmp_path / "stills" / "Mask" / f"{index}.png", mask)
    return images(tmp_path / "stills")


def test_each_source_has_its_share(tiny_davis: Path, stills: VideoDataset) -> None:
    """Whatever the number of its sequences."""
    train = davis2016(tiny_davis, "train")
    joint = mixed(train, {"stills": Source(stills, 3.0), "again": Source(train, 0.5)})
    assert (joint.name, joint.split, joint.scored) == (train.name, train.split, train.scored)
    assert [s.name for s in joint.sequences] == [
        *("train-000", "train-001"),
        *(f"stills/{index}" for index in range(5)),
        *("again/train-000", "again/train-001"),
    ]
    number, pairs = 3000, TrainingPairs(joint, 1, AUGMENTATION, seed=0)
    counts = Counter(pairs._draw_sequence(np.random.default_rng([0, index])) for index in range(number))
    expected = [1 / 2, 1 / 2, *[3 / 5] * 5, 1 / 4, 1 / 4]
    # 99.99 % quantile of chi-squared with 8 degrees of freedom
    assert (
        sum((counts[s] - number * share / 4.5) ** 2 / (number * share / 4.5) for s, share in enumerate(expected)) < 31.9
    )


def test_one_data_set_is_drawn_from_as_ever(tiny_davis: Path, stills: VideoDataset) -> None:
    train = davis2016(tiny_davis, "train")
    assert mixed(train, {}) is train
    pairs = TrainingPairs(train, 8, AUGMENTATION, seed=3)
    for index in range(8):
        assert int(pairs[index]["key"][0]) == int(np.random.default_rng([3, index]).integers(2))
    # The pairs of a mixture, too, are a function of (seed, index) alone.
    joint = mixed(train, {"stills": Source(stills)})
    stream = [TrainingPairs(joint, 12, AUGMENTATION, seed=3)[index] for index in range(12)]
    later = TrainingPairs(joint, 4, AUGMENTATION, seed=3, start=8)
    for index in (3, 0, 2):
        for name in ("anchor", "frame", "mask", "key"):
            assert torch.equal(later[index][name], stream[8 + index][name])  # type: ignore[literal-required]
    assert {int(pair["key"][0]) > 1 for pair in stream} == {False, True}


def test_an_image_is_a_pair_of_itself_augmented_apart_and_has_no_motion(stills: VideoDataset) -> None:
    for anchor in ("first", "random"):
        pairs = TrainingPairs(stills, 6, AUGMENTATION, 0, anchor, flow=SequenceFlow(OpticalFlow()))  # type: ignore[arg-type]
        drawn = [pairs[index] for index in range(6)]
        assert all(pair["key"][1:].tolist() == [0, 0] for pair in drawn)
        assert all(pair["mask"].any() for pair in drawn)
        assert sum(torch.equal(pair["anchor"], pair["frame"]) for pair in drawn) == 0
        for pair in drawn:
            assert pair["flow"].shape == (3, 17, 25)
            noisy = pair["flow"][None] - no_motion(pair["frame"][None].float())
            assert noisy.abs().max() <= 1  # what the augmentation adds to none


def test_holdout_and_validation_know_the_first_alone(tiny_davis: Path, stills: VideoDataset) -> None:
    train, val = davis2016(tiny_davis, "train"), davis2016(tiny_davis)
    data = PairDataModule(train, val, AUGMENTATION, 1, 2, mix={"stills": Source(stills)}, holdout=["train-001"])
    assert [s.name for s in data.val.sequences] == ["train-001"]
    assert [s.name for s in data.train.sequences] == ["train-000", *(f"stills/{index}" for index in range(5))]
    assert sum(s.weight for s in data.train.sequences) == pytest.approx(2)
    with pytest.raises(UserError, match=r"no sequence 'stills/0' in this split"):
        PairDataModule(train, val, AUGMENTATION, 1, 2, mix={"stills": Source(stills)}, holdout=["stills/0"])


def test_mistakes(tiny_davis: Path, stills: VideoDataset) -> None:
    train = davis2016(tiny_davis, "train")
    for file in (stills.root / "Mask").iterdir():
        write_mask(file, np.zeros((40, 60), dtype=bool))
    with pytest.raises(UserError, match=r"^images all at .*stills: all masks are empty, .*; check them$"):
        mixed(train, {"stills": Source(stills)})
    bare = replace(stills, sequences=tuple(replace(s, annotations={}) for s in stills.sequences))
    with pytest.raises(UserError, match="sequence 0 of images all has fewer than two annotated frames"):
        TrainingPairs(bare, 1, AUGMENTATION, seed=0)


def test_the_command_line_names_sources_and_their_weights(stills: VideoDataset) -> None:
    words = ["mix=[images,davis2017]", f"mix.images.dataset.root={stills.root}", "mix.images.weight=2"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", words)
        check_config(cfg, "train")
        assert instantiate(cfg.mix.images) == Source(stills, 2)
        assert (cfg.mix.davis2017.dataset.split, cfg.data.split) == ("train", "val")
        for word in (
            "mix.images.weigth=2",
            "mix.images.dataset.rot=x",
            "mix.images.weight=much",
            "mix.images.weight=0",
        ):
            with pytest.raises(UserError, match=r"mix\.images"):
                check_config(hydra.compose("train", [*words[:2], f"++{word}"]), "train")
        with pytest.raises(UserError, match=r"unknown key mix\.duts; known are: none"):
            check_config(hydra.compose("train", ["+mix.duts.weight=2"]), "train")
