import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from adnet.data.masks import write_mask
from adnet.data.videos import Video, VideoDataset, all_but_first_and_last, annotated_frames
from adnet.errors import UserError
from adnet.metrics import contour_accuracy, region_similarity, score_dataset


def error_of(dataset, predictions, workers=1):
    with pytest.raises(UserError) as caught:
        score_dataset(dataset, predictions, workers)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Which frames count


def test_inner_leaves_out_the_first_and_last_frame_and_all_none(tmp_path, toy):
    sparse = toy.dataset_in(tmp_path, sparse=True).sequences[0]
    assert all_but_first_and_last(sparse) == ["00002", "00004"]
    assert annotated_frames(sparse) == ["00000", "00002", "00004"]


# A dataset


def test_scores_of_a_dataset(dataset, predictions, toy):
    scores = score_dataset(dataset, predictions, workers=1, protocol="paper")
    assert json.loads(json.dumps(scores)) == scores
    assert (scores["dataset"], scores["split"], scores["protocol"]) == ("toy", "val", "paper")
    assert list(scores["sequences"]) == list(toy.LENGTHS)
    for offset, name in enumerate(toy.LENGTHS):
        inner = range(1, toy.LENGTHS[name] - 1)
        pairs = [(np.roll(toy.blob(i), i, axis=1), toy.blob(i + offset)) for i in inner]
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
    boat = score_dataset(replace(dataset, sequences=dataset.sequences[1:]), predictions, workers=1)
    assert boat["sequences"] == {"boat": whole["sequences"]["boat"]}


def test_processes_give_what_one_gives(dataset, predictions):
    assert score_dataset(dataset, predictions, workers=2) == score_dataset(dataset, predictions, workers=1)


def test_frames_that_do_not_count_may_be_absent(dataset, predictions, toy):
    before = score_dataset(dataset, predictions, workers=1)
    for name, length in toy.LENGTHS.items():
        (predictions / name / "00000.png").unlink()
        (predictions / name / f"{length - 1:05d}.png").unlink()
    assert score_dataset(dataset, predictions, workers=1) == before


def test_sparse_annotations_are_all_scored_and_other_frames_may_be_present(tmp_path, predictions, toy):
    scores = score_dataset(toy.dataset_in(tmp_path, annotated_frames, sparse=True), predictions, workers=1)
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
    scores = score_dataset(dataset, predictions, workers=1)
    assert scores | {"kind_reason": expected["kind_reason"]} == expected


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


def test_the_folder_of_an_evaluation_is_that_of_its_masks(dataset, predictions, tmp_path):
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    predictions.rename(evaluation / "masks")
    assert score_dataset(dataset, evaluation, 1) == score_dataset(dataset, evaluation / "masks", 1)
    (evaluation / "bear").mkdir()  # now the masks could be meant to lie here
    with pytest.raises(UserError, match="sequence bear is missing"):
        score_dataset(dataset, evaluation, 1)


def test_what_lies_in_place_of_masks_is_named(dataset, predictions):
    for number in (1, 2):  # a folder per object, as SAM 2 writes
        for path in (predictions / "boat").glob("*.png"):
            write_mask(predictions / "boat" / str(number) / path.name, np.eye(24, 40) > 0)
    for path in (predictions / "boat").glob("*.png"):
        path.unlink()
    for path in (predictions / "bear").iterdir():
        path.rename(path.with_suffix(".npz"))
    message = error_of(dataset, predictions)
    assert (
        f"boat is missing, but {predictions / 'boat'} has folders with images (1, 2), perhaps one per object" in message
    )
    assert f"bear is missing, but {predictions / 'bear'} holds .npz" in message


def test_masks_of_other_suffixes(dataset, predictions):
    expected = score_dataset(dataset, predictions, workers=1)
    for path in predictions.glob("*/*.png"):
        path.rename(path.with_suffix(".PNG"))
    assert score_dataset(dataset, predictions, workers=1)["mean"] == expected["mean"]
    for path in predictions.glob("*/*.PNG"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    assert score_dataset(dataset, predictions, workers=1, kind="masks")["mean"] == expected["mean"]


def test_soft_masks_and_cut_outs_are_read_as_annotations_are(dataset, predictions):
    expected = score_dataset(dataset, predictions, workers=1)
    for number, path in enumerate(sorted(predictions.glob("*/*.png"))):
        mask = np.asarray(Image.open(path)) > 0
        photo = np.random.default_rng(number).integers(0, 256, (*mask.shape, 3), np.uint8)
        Image.fromarray(np.dstack([photo, mask * np.uint8(255)])).save(path)
    assert score_dataset(dataset, predictions, workers=1)["mean"] == expected["mean"]


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
    assert f"{other} is 20x12 and its annotation" in message
    assert "40x24" in message


def test_a_folder_that_is_not_there(dataset, tmp_path):
    assert f"{tmp_path / 'nowhere'} is not a folder" in error_of(dataset, tmp_path / "nowhere")


def test_a_sequence_without_scored_frames(predictions, tmp_path):
    frames = (tmp_path / "a.jpg", tmp_path / "b.jpg")
    sequence = Video("pair", frames, {"a": tmp_path / "a.png", "b": tmp_path / "b.png"})
    message = error_of(VideoDataset("toy", "val", tmp_path, (sequence,)), predictions)
    assert "pair has no annotated frame that counts" in message


def test_no_workers(dataset, predictions):
    assert "workers is 0" in error_of(dataset, predictions, workers=0)


# All pixels, attributes, labels


def test_pixel_pools_the_masks_of_all_frames(dataset, predictions):
    pairs = [
        (np.asarray(Image.open(predictions / s.name / f"{stem}.png")) > 0, s.annotation(Path(f"{stem}.jpg")))
        for s in dataset.sequences
        for stem in all_but_first_and_last(s)
    ]
    mask, annotation = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    precision, recall, f, _ = precision_recall_fscore_support(annotation, mask, average="binary")
    pixel = score_dataset(dataset, predictions, workers=1)["pixel"]
    assert pixel == pytest.approx({"precision": precision, "recall": recall, "F_measure": f})


def test_attributes_are_means_over_the_sequences_that_have_them(dataset, predictions):
    assert "attributes" not in score_dataset(dataset, predictions, workers=1)
    both = (("OCC",), ("FM", "OCC"))
    sequences = tuple(replace(s, attributes=a) for s, a in zip(dataset.sequences, both, strict=True))
    scores = score_dataset(replace(dataset, sequences=sequences), predictions, workers=1)
    boat = scores["sequences"]["boat"]
    assert list(scores["attributes"]) == ["FM", "OCC"]
    assert scores["attributes"]["FM"] == {"J": boat["J"]["mean"], "F": boat["F"]["mean"], "sequences": ["boat"]}
    means = [sequence["J"]["mean"] for sequence in scores["sequences"].values()]
    assert scores["attributes"]["OCC"]["J"] == pytest.approx(sum(means) / 2)
    assert scores["attributes"]["OCC"]["sequences"] == ["bear", "boat"]


def test_annotations_are_read_by_their_regions(dataset, predictions):
    before = score_dataset(dataset, predictions, workers=1)
    sequences = []
    for sequence in dataset.sequences:
        for path in sequence.annotations.values():
            labels = np.where(np.asarray(Image.open(path)) > 0, 7, 200).astype(np.uint8)  # the background is 200
            Image.fromarray(labels).save(path)
        sequences.append(replace(sequence, regions=(200, 7)))
    assert score_dataset(replace(dataset, sequences=tuple(sequences)), predictions, workers=1) == before


# The published evaluation


def test_equals_the_published_evaluation_on_davis(davis, reference):
    expected = json.loads((reference / "davis_scores.json").read_text())["osvos"]
    sequences = []
    for name in expected:
        annotations = sorted((davis / "Annotations" / "480p" / name).glob("*.png"))
        sequences.append(Video(name, tuple(annotations), {path.stem: path for path in annotations}))
    dataset = VideoDataset("davis2016", "val", davis, tuple(sequences))
    scores = score_dataset(dataset, reference / "davis_predictions" / "osvos")
    assert list(scores["sequences"]) == list(expected)
    for sequence, oracle in zip(sequences, expected.values(), strict=True):
        ends = all_but_first_and_last(sequence)[:: len(sequence.frames) - 3]
        assert [f"{stem}.png" for stem in ends] == oracle["frames"]
        for measure in "JF":
            ours = scores["sequences"][sequence.name][measure]
            np.testing.assert_allclose(ours["frames"], oracle[measure], atol=1e-9, rtol=0)
            for statistic in ("mean", "recall", "decay"):
                assert ours[statistic] == pytest.approx(oracle[f"{measure}_{statistic}"], abs=1e-9)


@pytest.mark.parametrize(
    ("moved", "lies"), [("{name}", "holds .png"), ("Annotations/{folder}/{name}", "holds Annotations")]
)
def test_what_lies_in_place_of_all_sequences_is_named(dataset, predictions, moved, lies):
    for path in sorted(predictions.glob("*/*.png")):
        target = predictions / moved.format(folder=path.parent.name, name=path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for name in ("bear", "boat"):
        (predictions / name).rmdir()
    assert f"sequence boat is missing, but {predictions} {lies}. Give one" in error_of(dataset, predictions)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda mask: mask, ""),
        (lambda mask: np.zeros_like(mask), "nothing is foreground in any prediction"),
        (lambda mask: np.ones_like(mask), "nearly all pixels of all predictions are foreground"),
        (
            np.logical_not,
            "inverted, they would have a J of 100 over all pixels: is the object black in them, or in the annotations?",
        ),
    ],
    ids=["right", "none", "all", "inverted"],
)
def test_odd_predictions_are_said_in_one_line(dataset, predictions, caplog, change, line):
    for sequence in dataset.sequences:
        for frame in sequence.frames:
            write_mask(predictions / sequence.name / f"{frame.stem}.png", change(sequence.annotation(frame)))
    score_dataset(dataset, predictions, workers=1)
    assert caplog.messages == [f"{predictions}: {line}"] * bool(line)


def test_folders_as_predict_writes_them_are_read(dataset, predictions):
    expected = score_dataset(dataset, predictions, workers=1)
    for path in sorted(predictions.glob("*/*.png")):
        (path.parent / "masks").mkdir(exist_ok=True)
        path.rename(path.parent / "masks" / path.name)
    (predictions / "bear" / "overlay.mp4").touch()
    assert score_dataset(dataset, predictions, workers=1) == expected
