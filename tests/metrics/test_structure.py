"""The oracle is pysodmetrics 1.6.2 (`Smeasure`), which itself needs another OpenCV than ours: its numbers are written down here."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adnet.metrics.saliency import Saliency
from adnet.metrics.structure import structure_measure


def blurred_disc(height, width, row, column, radius, softness):
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - row, x - column)
    return np.clip((radius + softness - distance) / (2 * softness), 0, 1), distance < radius


@pytest.mark.parametrize(
    ("disc", "as_it_is", "moved", "inverted"),
    [
        ((40, 60, 18, 25, 9, 4), 0.9220487435150939, 0.7324696988323104, 0.0),
        ((30, 30, 29, 0, 7, 3), 0.8567614425414414, 0.5029843817997824, 0.0),
        ((21, 17, 10, 8, 12, 2), 0.8462346332828152, 0.500491273879682, 0.00023804456261554419),
        ((12, 9, 3, 4, 0.5, 2), 0.5278170190665655, 0.45950279228864666, 0.026716158681482017),
    ],
    ids=["inside", "at the rim", "nearly all", "one pixel"],
)
def test_equals_pysodmetrics(disc, as_it_is, moved, inverted):
    probability, annotation = blurred_disc(*disc)
    assert structure_measure(probability, annotation) == pytest.approx(as_it_is, abs=1e-9)
    assert structure_measure(np.roll(probability, 5, axis=1), annotation) == pytest.approx(moved, abs=1e-9)
    assert structure_measure(1 - probability, annotation) == pytest.approx(inverted, abs=1e-9)


def test_equals_pysodmetrics_on_real_maps(reference):
    saliency, unstretched = Saliency(), Saliency(stretch=False)
    for name in json.loads((reference / "saliency_scores.json").read_text())["frames"]:
        probability, mask = (
            np.asarray(Image.open(reference / "saliency" / kind / name)) for kind in ("probability", "mask")
        )
        saliency.update(probability, mask > 0)
        unstretched.update((probability / 255).astype(np.float64), mask > 0)
    assert saliency.compute()["per_frame"]["S"] == pytest.approx(0.834055397179647, abs=1e-9)
    assert unstretched.compute()["per_frame"]["S"] == pytest.approx(0.8323149960463112, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1))
def test_is_a_share_and_1_for_the_annotation_itself(seed, height, width, share):
    rng = np.random.default_rng(seed)
    annotation = rng.random((height, width)) < share
    assert 0 <= structure_measure(rng.random((height, width)), annotation) <= 1
    assert structure_measure(annotation.astype(np.float64), annotation) == pytest.approx(1)


def test_without_foreground_or_background_it_is_the_mean():
    probability = np.full((4, 5), 0.25)
    assert structure_measure(probability, np.zeros((4, 5), bool)) == 0.75
    assert structure_measure(probability, np.ones((4, 5), bool)) == 0.25
