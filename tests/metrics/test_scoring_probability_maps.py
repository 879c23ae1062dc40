"""Scores of probability maps: J and F of their masks, and saliency."""

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adnet.data.videos import Video, VideoDataset, annotated_frames
from adnet.errors import UserError
from adnet.metrics import Saliency, score_dataset


def error_of(dataset, predictions, workers=1):
    with pytest.raises(UserError) as caught:
        score_dataset(dataset, predictions, workers)
    message = str(caught.value)
    assert "\n" not in message
    return message


def grey_map(mask, seed):
    """A map that is above one half on `mask`, of many values."""
    noise = np.random.default_rng(seed).integers(0, 100, mask.shape)
    return np.where(mask, 255 - noise, noise).astype(np.uint8)


def write_map(path, values, form):
    if form == "8 bits":
        Image.fromarray(values).save(path)
    elif form == "16 bits":
        Image.fromarray(values * np.uint16(257)).save(path)
    else:
        path.unlink(missing_ok=True)
        np.save(path.with_suffix(".npy"), (values / 255)[None].astype(form))


@pytest.fixture
def maps(predictions, tmp_path):
    """The masks of `predictions` as they were before they were cut."""
    folder = tmp_path / "maps"
    for number, path in enumerate(sorted(predictions.glob("*/*.png"))):
        (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey_map(np.asarray(Image.open(path)) > 0, number)).save(folder / path.parent.name / path.name)
    return folder


def saliency_of(dataset, maps):
    saliency = Saliency()
    for sequence in dataset.sequences:
        for stem in dataset.scored(sequence):
            values = np.asarray(Image.open(maps / sequence.name / f"{stem}.png"))
            saliency.update(values, sequence.annotation(Path(f"{stem}.jpg")))
    return saliency.compute()


@pytest.mark.parametrize("form", ["8 bits", "16 bits", "float32", "float64"])
def test_probability_maps_are_cut_at_one_half_and_scored_as_saliency(dataset, predictions, maps, form):
    masks = score_dataset(dataset, predictions, workers=1)
    saliency = saliency_of(dataset, maps)
    for path in list(maps.glob("*/*.png")):
        write_map(path, np.asarray(Image.open(path)), form)
    scores = score_dataset(dataset, maps, workers=1)
    assert (masks["kind"], scores["kind"]) == ("masks", "probabilities")
    assert "saliency" not in masks
    assert {key: scores[key] for key in ("mean", "pixel", "sequences")} == {
        key: masks[key] for key in ("mean", "pixel", "sequences")
    }
    for convention, measures in saliency.items():
        for measure, value in measures.items():
            # Floats of 32 bits fall beside a level now and then.
            assert scores["saliency"][convention][measure] == pytest.approx(value, abs=2e-3)
    assert json.loads(json.dumps(scores)) == scores
    assert scores["pixel"]["F_measure"] <= scores["saliency"]["pooled"]["F_max"]


def test_maps_beside_masks_give_the_saliency(dataset, predictions, maps):
    scores = score_dataset(dataset, predictions, workers=1, probabilities=maps)
    assert scores["kind"] == "masks"
    alone = score_dataset(dataset, maps, workers=1)
    assert scores["saliency"] == alone["saliency"]
    assert scores["mean"] == alone["mean"]
    (maps / "bear" / "00002.png").unlink()
    with pytest.raises(UserError, match="maps does not fit toy val: bear lacks 00002"):
        score_dataset(dataset, predictions, workers=1, probabilities=maps)


def test_saliency_is_the_same_from_any_number_of_processes(dataset, maps, monkeypatch):
    monkeypatch.setattr("adnet.metrics.scoring.CHUNK", 2)
    one, two = (score_dataset(dataset, maps, workers) for workers in (1, 2))
    assert one == two
    assert one["saliency"]["pooled"]["MAE"] == pytest.approx(saliency_of(dataset, maps)["pooled"]["MAE"], abs=1e-12)


def test_the_kind_is_told_from_a_sample_and_holds_for_all(dataset, predictions):
    assert score_dataset(dataset, predictions, workers=1)["kind_reason"] == "one grey value besides 0: 255"
    other = predictions / "bear" / "00002.png"  # not in the sample
    Image.fromarray(cv2.blur(np.asarray(Image.open(other)), (5, 5))).save(other)
    assert "00002.png has several grey values" in error_of(dataset, predictions)
    assert score_dataset(dataset, predictions, workers=1, kind="masks")["kind_reason"] == "given"


def test_a_map_outside_its_range_is_named(dataset, maps):
    path = maps / "bear" / "00002.png"
    logits = np.asarray(Image.open(path)) / 16 - 8
    path.unlink()
    np.save(path.with_suffix(".npy"), logits)
    message = error_of(dataset, maps)
    assert "00002.npy has values from -8 to" in message
    assert "after the sigmoid" in message


def test_saliency_of_a_folder_equals_the_public_tools(reference):
    """pysodmetrics 1.6.2 and scikit-learn, whose numbers lie beside the maps."""
    expected = json.loads((reference / "saliency_scores.json").read_text())
    root = reference / "saliency"
    sequences = []
    for name in sorted({frame.split("/")[0] for frame in expected["frames"]}):
        masks = sorted((root / "mask" / name).glob("*.png"))
        sequences.append(Video(name, tuple(masks), {mask.stem: mask for mask in masks}))
    dataset = VideoDataset("maps", "all", root, tuple(sequences), annotated_frames)
    scores = score_dataset(dataset, root / "probability", workers=2)
    assert scores["kind"] == "probabilities"
    pooled, per_frame = scores["saliency"]["pooled"], scores["saliency"]["per_frame"]
    assert pooled["MAE"] == pytest.approx(expected["pooled"]["MAE"], abs=1e-6)
    assert pooled["F_max"] == pytest.approx(expected["pooled"]["max_F1"], abs=1e-4)
    assert per_frame["MAE"] == pytest.approx(expected["per_frame"]["MAE"], abs=1e-6)
    assert per_frame["F_max"] == pytest.approx(expected["per_frame"]["max_F"], abs=1e-4)
    assert per_frame["F_adaptive"] == pytest.approx(expected["per_frame"]["adaptive_F"], abs=1e-4)
    assert per_frame["precision"] == pytest.approx(expected["per_frame"]["precision"], abs=1e-4)
    assert per_frame["recall"] == pytest.approx(expected["per_frame"]["recall"], abs=1e-4)


@pytest.mark.parametrize("values", [np.uint8(100), np.uint16(255), np.float32(0.01)])
def test_maps_of_another_range_are_not_zero_without_a_word(dataset, maps, caplog, values):
    for path in sorted(maps.glob("*/*.png")):
        ramp = np.linspace(0, 1, np.asarray(Image.open(path)).size).reshape(np.asarray(Image.open(path)).shape)
        path.unlink()
        np.save(path.with_suffix(".npy"), (ramp * values).astype(values.dtype))
    with caplog.at_level(logging.WARNING):
        assert score_dataset(dataset, maps, workers=1)["mean"]["J"]["mean"] == 0
    (record,) = caplog.records
    assert "nothing is foreground in any prediction: is 255 (8 bits), 65535 (16 bits) or 1.0" in record.getMessage()
