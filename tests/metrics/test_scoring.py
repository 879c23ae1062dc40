import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adnet.data.sequence import Sequence, VideoDataset, write_mask
from adnet.errors import UserError
from adnet.metrics import (
    contour_accuracy,
    region_similarity,
    score_dataset,
    score_sequence,
    scored_frames,
    sequence_statistics,
)

TOOLKIT = json.loads((Path(__file__).parents[1] / "fixtures" / "davis_toolkit_results.json").read_text())
LENGTHS = {"bear": 6, "boat": 4}


def blob(seed):
    mask = np.zeros((24, 40), bool)
    mask[seed % 7 : 15, 3 + seed : 30] = True
    return mask


def dataset_in(root, scored="inner", sparse=False):
    sequences = []
    for offset, (name, length) in enumerate(LENGTHS.items()):
        frames = tuple(root / "frames" / name / f"{i:05d}.jpg" for i in range(length))
        annotated = frames[::2] if sparse else frames
        paths = {frame.stem: root / "annotations" / name / f"{frame.stem}.png" for frame in annotated}
        for i, path in enumerate(paths.values()):
            write_mask(path, blob(i + offset))
        sequences.append(Sequence(name, frames, paths))
    return VideoDataset("toy", "val", root, tuple(sequences), scored)


@pytest.fixture
def dataset(tmp_path):
    return dataset_in(tmp_path)


@pytest.fixture
def predictions(dataset, tmp_path):
    folder = tmp_path / "masks"
    for sequence in dataset.sequences:
        for i, frame in enumerate(sequence.frames):
            write_mask(folder / sequence.name / f"{frame.stem}.png", np.roll(blob(i), i, axis=1))
    return folder


def error_of(dataset, predictions, workers=1):
    with pytest.raises(UserError) as caught:
        score_dataset(dataset, predictions, workers)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Statistics


@pytest.mark.parametrize("method", TOOLKIT)
@pytest.mark.parametrize("measure", ["J", "F"])
def test_statistics_equal_the_published_toolkit(method, measure):
    for expected in TOOLKIT[method][measure].values():
        statistics = sequence_statistics(expected["raw"])
        # The toolkit's scores were printed with ten digits.
        assert statistics.mean == pytest.approx(expected["mean"], abs=1e-9)
        assert statistics.recall == pytest.approx(expected["recall"], abs=1e-9)
        assert statistics.decay == pytest.approx(expected["decay"], abs=1e-9)


@pytest.mark.parametrize(("method", "j", "f"), [("fst", 55.8, 51.1), ("vpn", 70.2, 65.5)])
def test_mean_over_sequences_gives_rows_of_table_2(method, j, f):
    means = {
        measure: 100 * np.mean([sequence_statistics(s["raw"]).mean for s in TOOLKIT[method][measure].values()])
        for measure in "JF"
    }
    assert {measure: round(mean, 1) for measure, mean in means.items()} == {"J": j, "F": f}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    # Edges, counted from 1: 1 1 1 1 1; 1 1 2 2 2; 1 2 2 3 3; 1 2 3 3 4; 1 2 3 4 5. Bins hold both of theirs.
    ("values", "decay"),
    [
        ([0.3], 0),
        ([0.9, 0.1], 0.9 - 0.1),
        ([0.9, 0.6, 0.1], (0.9 + 0.6) / 2 - 0.1),
        ([1, 0.8, 0.5, 0.2], (1 + 0.8) / 2 - (0.5 + 0.2) / 2),
        ([1, 0.8, 0.7, 0.6, 0.1], (1 + 0.8) / 2 - (0.6 + 0.1) / 2),
    ],
)
def test_decay_of_short_sequences(values, decay):
    assert sequence_statistics(values).decay == pytest.approx(decay)


def test_recall_is_strict():
    assert sequence_statistics([0.5, 0.5, np.nextafter(0.5, 1), 0.4]).recall == 0.25


def test_decay_of_a_long_sequence_does_not_wrap():
    values = np.linspace(1, 0, 1001)
    assert sequence_statistics(values).decay == pytest.approx(0.75, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=600))
def test_statistics_stay_in_range(values):
    statistics = sequence_statistics(values)
    assert 0 <= statistics.mean <= 1 + 1e-12
    assert 0 <= statistics.recall <= 1
    assert -1 - 1e-12 <= statistics.decay <= 1 + 1e-12


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]])
def test_statistics_need_a_vector(values):
    with pytest.raises(ValueError, match="at least one score"):
        sequence_statistics(values)


# Which frames count


def test_inner_leaves_out_the_first_and_last_frame_and_all_none(tmp_path):
    sparse = dataset_in(tmp_path, sparse=True).sequences[0]
    assert scored_frames(sparse, "inner") == ["00002", "00004"]
    assert scored_frames(sparse, "all") == ["00000", "00002", "00004"]


# A dataset


def test_scores_of_a_dataset(dataset, predictions):
    scores = score_dataset(dataset, predictions, workers=1, protocol="paper")
    assert json.loads(json.dumps(scores)) == scores
    assert (scores["dataset"], scores["split"], scores["protocol"]) == ("toy", "val", "paper")
    assert list(scores["sequences"]) == list(LENGTHS)
    for offset, name in enumerate(LENGTHS):
        inner = range(1, LENGTHS[name] - 1)
        pairs = [(np.roll(blob(i), i, axis=1), blob(i + offset)) for i in inner]
        for measure, function in (("J", region_similarity), ("F", contour_accuracy)):
            frames = [function(*pair) for pair in pairs]
            assert scores["sequences"][name][measure]["frames"] == frames
            assert scores["sequences"][name][measure]["mean"] == pytest.approx(np.mean(frames))
    for measure in "JF":
        for statistic in ("mean", "recall", "decay"):
            each = [sequence[measure][statistic] for sequence in scores["sequences"].values()]
            assert scores["mean"][measure][statistic] == pytest.approx(sum(each) / 2)


def test_one_sequence_scores_as_in_the_dataset(dataset, predictions):
    whole = score_dataset(dataset, predictions, workers=1)
    assert score_sequence(dataset.sequences[1], predictions, "inner") == whole["sequences"]["boat"]


def test_processes_give_what_one_gives(dataset, predictions):
    assert score_dataset(dataset, predictions, workers=2) == score_dataset(dataset, predictions, workers=1)


def test_frames_that_do_not_count_may_be_absent(dataset, predictions):
    before = score_dataset(dataset, predictions, workers=1)
    for name, length in LENGTHS.items():
        (predictions / name / "00000.png").unlink()
        (predictions / name / f"{length - 1:05d}.png").unlink()
    assert score_dataset(dataset, predictions, workers=1) == before


def test_sparse_annotations_are_all_scored_and_other_frames_may_be_present(tmp_path, predictions):
    scores = score_dataset(dataset_in(tmp_path, "all", sparse=True), predictions, workers=1)
    assert [len(s["J"]["frames"]) for s in scores["sequences"].values()] == [3, 2]


@pytest.mark.parametrize("kind", ["0/1", "palette"])
def test_masks_of_other_methods(dataset, predictions, kind):
    expected = score_dataset(dataset, predictions, workers=1)
    for path in predictions.glob("*/*.png"):
        labels = (np.asarray(Image.open(path)) > 0).astype(np.uint8)
        image = Image.fromarray(labels)
        if kind == "palette":
            image = Image.fromarray(labels * 3).convert("P")
            image.putdata((labels * 3).ravel().tolist())
            image.putpalette([0, 0, 0] * 4)
        image.save(path)
    assert score_dataset(dataset, predictions, workers=1) == expected


def test_everything_that_does_not_fit_is_named_in_one_error(dataset, predictions):
    (predictions / "bear" / "00002.png").unlink()
    (predictions / "bear" / "00003.png").unlink()
    (predictions / "bear" / "00099.png").write_bytes(b"")
    for path in (predictions / "boat").iterdir():
        path.unlink()
    (predictions / "boat").rmdir()
    message = error_of(dataset, predictions)
    assert "bear lacks 00002, 00003;" in message
    assert "bear has no frame 00099;" in message
    assert "sequence boat is missing" in message


def test_nothing_is_computed_before_the_check(dataset, predictions):
    (predictions / "bear" / "00001.png").write_bytes(b"not an image")
    (predictions / "boat" / "00002.png").unlink()
    assert "boat lacks 00002" in error_of(dataset, predictions)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_mask_is_named(dataset, predictions, workers):
    broken = predictions / "boat" / "00002.png"
    broken.write_bytes(b"not an image")
    assert str(broken) in error_of(dataset, predictions, workers)


def test_a_mask_of_another_size_is_named(dataset, predictions):
    other = predictions / "bear" / "00003.png"
    write_mask(other, np.zeros((12, 20), bool))
    message = error_of(dataset, predictions)
    assert f"{other} is 12x20 but" in message
    assert "24x40" in message


def test_a_folder_that_is_not_there(dataset, tmp_path):
    assert f"{tmp_path / 'nowhere'} is not a folder" in error_of(dataset, tmp_path / "nowhere")


def test_a_sequence_without_scored_frames(predictions, tmp_path):
    frames = (tmp_path / "a.jpg", tmp_path / "b.jpg")
    sequence = Sequence("pair", frames, {"a": tmp_path / "a.png", "b": tmp_path / "b.png"})
    message = error_of(VideoDataset("toy", "val", tmp_path, (sequence,)), predictions)
    assert "pair has no annotated frame that counts" in message
    with pytest.raises(UserError, match="pair has no annotated frame"):
        score_sequence(sequence, predictions)


def test_no_sequences_and_no_workers(dataset, predictions, tmp_path):
    assert "has no sequences" in error_of(VideoDataset("toy", "val", tmp_path, ()), predictions)
    assert "workers is 0" in error_of(dataset, predictions, workers=0)


def test_scoring_starts_without_torch():
    """Each worker imports this module afresh: seconds of imports would cost more than the scores."""
    code = "import sys, adnet.metrics.scoring; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The published evaluation


def test_equals_the_published_evaluation_on_davis(davis, reference):
    expected = json.loads((reference / "davis_scores.json").read_text())["osvos"]
    sequences = []
    for name in expected:
        annotations = sorted((davis / "Annotations" / "480p" / name).glob("*.png"))
        sequences.append(Sequence(name, tuple(annotations), {path.stem: path for path in annotations}))
    dataset = VideoDataset("davis2016", "val", davis, tuple(sequences))
    scores = score_dataset(dataset, reference / "davis_predictions" / "osvos")
    assert list(scores["sequences"]) == list(expected)
    for sequence, oracle in zip(sequences, expected.values(), strict=True):
        ends = scored_frames(sequence, "inner")[:: len(sequence.frames) - 3]
        assert [f"{stem}.png" for stem in ends] == oracle["frames"]
        for measure in "JF":
            ours = scores["sequences"][sequence.name][measure]
            np.testing.assert_allclose(ours["frames"], oracle[measure], atol=1e-9, rtol=0)
            for statistic in ("mean", "recall", "decay"):
                assert ours[statistic] == pytest.approx(oracle[f"{measure}_{statistic}"], abs=1e-9)
