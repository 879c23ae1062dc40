import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import precision_recall_curve

from adnet.metrics import Saliency


def scores_of(frames, **options):
    saliency = Saliency(**options)
    for probability, annotation in frames:
        saliency.update(probability, annotation)
    return saliency.compute()


def sklearn_f_max(frames):
    annotations = np.concatenate([annotation.ravel() for _, annotation in frames])
    probabilities = np.concatenate([probability.ravel() for probability, _ in frames])
    precision, recall, _ = precision_recall_curve(annotations, probabilities)
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))


@pytest.fixture(scope="module")
def frames(reference):
    names = json.loads((reference / "saliency_scores.json").read_text())["frames"]
    folder = reference / "saliency"
    return [
        (np.asarray(Image.open(folder / "probability" / name)), np.asarray(Image.open(folder / "mask" / name)) > 0)
        for name in names
    ]


@pytest.fixture(scope="module")
def expected(reference):
    return json.loads((reference / "saliency_scores.json").read_text())


def test_pooled_equals_scikit_learn_on_real_maps(frames, expected):
    pooled = scores_of(frames)["pooled"]
    assert pooled["MAE"] == pytest.approx(expected["pooled"]["MAE"], abs=1e-9)
    assert pooled["F_max"] == pytest.approx(expected["pooled"]["max_F1"], abs=1e-9)


def test_per_frame_equals_pysodmetrics_on_real_maps(frames, expected):
    per_frame, oracle = scores_of(frames)["per_frame"], expected["per_frame"]
    assert per_frame["MAE"] == pytest.approx(oracle["MAE"], abs=1e-9)
    assert per_frame["F_max"] == pytest.approx(oracle["max_F"], abs=1e-9)
    assert per_frame["F_adaptive"] == pytest.approx(oracle["adaptive_F"], abs=1e-9)
    assert per_frame["precision"] == pytest.approx(oracle["precision"], abs=1e-9)
    assert per_frame["recall"] == pytest.approx(oracle["recall"], abs=1e-9)


def test_without_the_stretch_on_real_maps(frames, expected):
    per_frame, oracle = scores_of(frames, stretch=False)["per_frame"], expected["per_frame_unstretched"]
    assert per_frame["MAE"] == pytest.approx(oracle["MAE"], abs=1e-9)
    assert per_frame["F_max"] == pytest.approx(oracle["max_F"], abs=1e-9)
    assert per_frame["F_adaptive"] == pytest.approx(oracle["adaptive_F"], abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_pooled_equals_scikit_learn(seed, n, as_float):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        annotation = rng.random((13, 17)) < 0.4
        annotation[0, 0] = True
        probability = np.clip(0.3 * annotation + rng.random((13, 17)) * 0.7, 0, 1)
        frames.append((probability if as_float else (probability * 255).astype(np.uint8), annotation))
    pooled = scores_of(frames)["pooled"]
    error = [np.abs((p if as_float else p / 255) - a) for p, a in frames]
    assert pooled["MAE"] == pytest.approx(np.mean(error), abs=1e-12)
    # Floats that share a 16-bit level have one threshold together, which scikit-learn would give each of them.
    levels = [(np.rint(p * 65535) if as_float else p, a) for p, a in frames]
    assert pooled["F_max"] == pytest.approx(sklearn_f_max(levels), abs=1e-12)


def test_the_pooled_curve_holds_the_points_of_scikit_learn():
    rng = np.random.default_rng(0)
    annotation = rng.random((40, 50)) < 0.4
    probability = (np.clip(0.3 * annotation + rng.random((40, 50)) * 0.7, 0, 1) * 255).astype(np.uint8)
    pooled = scores_of([(probability, annotation)])["pooled"]
    precision, recall, thresholds = precision_recall_curve(annotation.ravel(), probability.ravel())
    position = 255 - thresholds.astype(int)
    np.testing.assert_allclose(np.array(pooled["precision"])[position], precision[:-1], atol=1e-12)
    np.testing.assert_allclose(np.array(pooled["recall"])[position], recall[:-1], atol=1e-12)
    assert len(pooled["precision"]) == len(pooled["recall"]) == 256


def literal_f(mask, annotation):
    hits = np.sum(mask & annotation)
    if not hits:
        return 0.0
    precision, recall = hits / mask.sum(), hits / annotation.sum()
    return 1.3 * precision * recall / (0.3 * precision + recall)


@pytest.mark.parametrize("stretch", [True, False])
def test_per_frame_equals_a_loop_over_thresholds(stretch):
    rng = np.random.default_rng(1)
    frames, curves, adaptive, error = [], [], [], []
    for _ in range(3):
        annotation = rng.random((20, 30)) < 0.4
        probability = rng.integers(10, 150, (20, 30), dtype=np.uint8) + annotation * np.uint8(50)
        frames.append((probability, annotation))
        values = probability / 255
        if stretch:
            values = (values - values.min()) / (values.max() - values.min())
        levels = np.floor(values * 255)
        curves.append([literal_f(levels >= threshold, annotation) for threshold in range(256)])
        adaptive.append(literal_f(values >= 2 * values.mean(), annotation))
        error.append(np.abs(values - annotation).mean())
    per_frame = scores_of(frames, stretch=stretch)["per_frame"]
    assert per_frame["F_max"] == pytest.approx(np.mean(curves, axis=0).max(), abs=1e-12)
    assert per_frame["F_adaptive"] == pytest.approx(np.mean(adaptive), abs=1e-12)
    assert per_frame["MAE"] == pytest.approx(np.mean(error), abs=1e-12)


def test_a_perfect_map_and_its_opposite():
    annotation = np.zeros((6, 9), bool)
    annotation[2:4, 3:7] = True
    perfect = scores_of([(annotation.astype(np.float32), annotation)])
    assert perfect["pooled"]["MAE"] == perfect["per_frame"]["MAE"] == 0
    assert perfect["pooled"]["F_max"] == perfect["per_frame"]["F_max"] == perfect["per_frame"]["F_adaptive"] == 1
    opposite = scores_of([((~annotation).astype(np.float32), annotation)])
    assert opposite["pooled"]["MAE"] == opposite["per_frame"]["MAE"] == 1
    assert opposite["per_frame"]["F_adaptive"] == 0


@pytest.mark.filterwarnings("error")
def test_no_foreground_and_a_flat_map_score_without_a_warning():
    flat = np.full((4, 5), 0.25)
    scores = scores_of([(flat, np.zeros((4, 5), bool)), (np.zeros((4, 5), np.uint8), np.ones((4, 5), bool))])
    assert scores["pooled"]["MAE"] == scores["per_frame"]["MAE"] == pytest.approx((0.25 + 1) / 2)
    assert scores_of([(flat, np.zeros((4, 5), bool))])["pooled"]["F_max"] == 0


def test_pooled_weighs_pixels_and_per_frame_weighs_frames():
    large, small = np.ones((10, 10), bool), np.ones((1, 10), bool)
    scores = scores_of([(np.ones((10, 10)), large), (np.zeros((1, 10)), small)])
    assert scores["pooled"]["MAE"] == pytest.approx(10 / 110)
    assert scores["per_frame"]["MAE"] == pytest.approx(0.5)


def test_memory_does_not_grow_with_frames():
    saliency = Saliency()
    arrays = {name: value.nbytes for name, value in vars(saliency).items() if isinstance(value, np.ndarray)}
    for _ in range(5):
        saliency.update(np.full((8, 8), 0.5), np.eye(8, dtype=bool))
    assert {name: value.nbytes for name, value in vars(saliency).items() if isinstance(value, np.ndarray)} == arrays


def test_the_result_is_json():
    scores = scores_of([(np.full((4, 4), 0.5), np.eye(4, dtype=bool))])
    assert json.loads(json.dumps(scores)) == scores


@pytest.mark.parametrize(
    ("probability", "message"),
    [
        (np.zeros((5, 4)), "shape"),
        (np.full((4, 5), 1.01), "expected probabilities"),
        (np.full((4, 5), -0.01), "expected probabilities"),
        (np.full((4, 5), np.nan), "expected probabilities"),
        (np.full((4, 5), 200, np.int64), "expected probabilities"),
    ],
)
def test_bad_maps_are_refused_and_leave_no_trace(probability, message):
    saliency = Saliency()
    with pytest.raises(ValueError, match=message):
        saliency.update(probability, np.zeros((4, 5), bool))
    with pytest.raises(ValueError, match="no frame"):
        saliency.compute()
