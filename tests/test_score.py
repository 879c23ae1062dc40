"""`python -m adnet.score`, as the author of another method runs it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adnet.data import davis2016, read_mask
from adnet.data.coco_masks import write_coco
from adnet.metrics import score_dataset
from adnet.score import main

Run = Callable[..., Any]


@pytest.fixture
def predictions(tiny_davis: Path, tmp_path: Path) -> Path:
    """The annotations of `tiny_davis`, a few pixels off."""
    for path in (tiny_davis / "Annotations" / "480p").glob("val-*/*.png"):
        target = tmp_path / "masks" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(read_mask(path), 3, axis=1).astype(np.uint8) * 255).save(target)
    return tmp_path / "masks"


@pytest.fixture
def score(run: Run, tiny_davis: Path, predictions: Path) -> Run:
    """The command on `predictions`, in one process."""
    return lambda *more: run(main, f"predictions={predictions}", f"data.root={tiny_davis}", "workers=1", *more)


def test_scores_and_table(score: Run, tiny_davis: Path, predictions: Path) -> None:
    ended = score()
    assert ended.code == 0, ended.err
    scores = json.loads(Path("scores.json").read_text())
    assert scores == score_dataset(davis2016(tiny_davis), predictions, workers=1)
    lines = ended.out.splitlines()
    assert lines[0] == "masks (one grey value besides 0: 255)"
    mean = next(line for line in lines if line.startswith("mean")).split()
    assert float(mean[1]) == pytest.approx(100 * scores["mean"]["J"]["mean"], abs=0.051)
    assert float(mean[4]) == pytest.approx(100 * scores["mean"]["F"]["mean"], abs=0.051)
    assert f"F-measure {100 * scores['pixel']['F_measure']:.1f}" in ended.out
    assert lines[-1] == "scores.json"
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["scores.json"]


def test_an_output_that_can_t_be_is_one_line(score: Run) -> None:
    Path("folder").mkdir()
    assert score("output=folder", "overwrite=true").err == (
        "adnet: output=folder is a folder; give a file, such as folder/scores.json\n"
    )
    Path("file").touch()
    ended = score("output=file/scores.json")
    assert (ended.code, ended.err) == (1, "adnet: cannot read or write file: a file is there, not a folder\n")


def test_one_sequence_and_a_row_per_frame(score: Run) -> None:
    assert score("data.sequences=[val-001]", "per_frame=true", "output=new/libby.json").code == 0
    scores = json.loads(Path("new/libby.json").read_text())["sequences"]
    with Path("new/libby_per_frame.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sequence"], row["frame"]) for row in rows] == [("val-001", "00001"), ("val-001", "00002")]
    for measure in "JF":
        assert [float(row[measure]) for row in rows] == scores["val-001"][measure]["frames"]


def test_attributes(score: Run, tiny_davis: Path) -> None:
    (tiny_davis / "db_info.yml").write_text(
        "sequences:\n- {name: val-000, attributes: [OCC, FM]}\n- {name: val-001, attributes: [OCC]}\n"
    )
    ended = score()
    scores = json.loads(Path("scores.json").read_text())
    assert scores["attributes"]["OCC"]["sequences"] == ["val-000", "val-001"]
    rows = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines() if line[:2] in ("FM", "OC")}
    assert rows == {
        name: [f"{100 * row['J']:.1f}", f"{100 * row['F']:.1f}", str(len(row["sequences"]))]
        for name, row in scores["attributes"].items()
    }


def test_probability_maps(score: Run, predictions: Path) -> None:
    score("output=masks.json")
    for path in predictions.glob("*/*.png"):
        noise = np.random.default_rng(0).integers(0, 90, (64, 112))
        Image.fromarray(np.where(read_mask(path), 255 - noise, noise).astype(np.uint8)).save(path)
    ended = score("output=maps.json")
    masks, maps = (json.loads(Path(name).read_text()) for name in ("masks.json", "maps.json"))
    assert (masks["mean"], masks["sequences"]) == (maps["mean"], maps["sequences"])
    assert "probabilities (90" not in ended.out
    assert ended.out.startswith("probabilities (")
    assert f"saliency, pooled: MAE {maps['saliency']['pooled']['MAE']:.4f}" in ended.out
    assert f"F_adaptive {100 * maps['saliency']['per_frame']['F_adaptive']:.1f}" in ended.out
    assert f"S {100 * maps['saliency']['per_frame']['S']:.1f}" in ended.out


def test_labels_of_objects_need_a_word(score: Run, predictions: Path) -> None:
    for path in predictions.glob("*/*.png"):
        labels = read_mask(path).astype(np.uint8)
        labels[:, 56:] *= 2
        Image.fromarray(labels).save(path)
    ended = score()
    assert (ended.code, ended.out) == (1, "")
    assert (
        "grey values 1, 2 may be labels of objects or probabilities: give kind=masks or kind=probabilities" in ended.err
    )
    assert score("kind=masks").code == 0
    assert not Path("scores.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kind=mask"], "kind=mask: expected auto or masks or probabilities; did you mean masks?"),
        (["workers=0"], "workers=0: expected a whole number of at least 1"),
        (["data.sequences=[val-01]"], "no sequence 'val-01' in this split; did you mean 'val-00"),
        (["predictions=nowhere"], "nowhere is not a folder"),
        (["per_frames=true"], "did you mean per_frame?"),
    ],
)
def test_mistakes_are_one_line(score: Run, arguments: list[str], message: str) -> None:
    ended = score(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not list(Path.cwd().iterdir())


def test_what_is_missing_and_what_is_extra_is_listed(score: Run, predictions: Path) -> None:
    (predictions / "val-000" / "00001.png").unlink()
    (predictions / "val-001" / "00002.png").rename(predictions / "val-001" / "0002.png")
    ended = score()
    assert ended.code == 1
    assert "val-000 lacks 00001; val-001 lacks 00002; val-001 has no frame 0002" in ended.err


def test_nothing_is_overwritten_silently(score: Run) -> None:
    assert score().code == 0
    before = Path("scores.json").read_bytes()
    ended = score("data.sequences=[val-001]")
    assert (ended.code, "scores.json is there already" in ended.err) == (1, True)
    assert Path("scores.json").read_bytes() == before
    assert score("data.sequences=[val-001]", "overwrite=true").code == 0
    assert Path("scores.json").read_bytes() != before
    Path("scores_per_frame.csv").write_text("precious")
    Path("scores.json").unlink()
    assert "scores_per_frame.csv is there already" in score("per_frame=true").err
    assert not Path("scores.json").exists()


def test_a_folder_of_anyone_s(run: Run, tmp_path: Path, predictions: Path) -> None:
    frames = tmp_path / "videos" / "frames" / "val-000"
    frames.mkdir(parents=True)
    for path in (predictions / "val-000").iterdir():
        Image.new("RGB", (112, 64)).save(frames / f"{path.stem}.jpg")
    (tmp_path / "videos" / "masks").mkdir()
    (predictions / "val-000").rename(tmp_path / "videos" / "masks" / "val-000")
    for end in ("00000", "00003"):  # as where only the middle of a video is annotated
        (tmp_path / "videos" / "masks" / "val-000" / f"{end}.png").unlink()
    masks = tmp_path / "videos" / "masks"
    ended = run(main, f"predictions={masks}", "data=folder", f"data.root={masks.parent}", "workers=1")
    assert ended.code == 0, ended.err
    scores = json.loads(Path("scores.json").read_text())
    assert scores["sequences"]["val-000"]["J"]["frames"] == [1.0] * 2
    assert scores["sequences"]["val-000"]["frames"] == ["00001", "00002"]
    assert "data.root has no value" in run(main, f"predictions={masks}", "data=folder", "output=b.json").err


def test_predictions_in_a_coco_file(score: Run, predictions: Path) -> None:
    """As those in a folder of PNGs; `write_coco` knows no folders, so the file has one sequence."""
    words = ("data.sequences=[val-000]", "output=a.json"), ("data.sequences=[val-000]", "output=b.json")
    assert score(*words[0]).code == 0
    write_coco(sorted((predictions / "val-000").iterdir()), Path("rle.json"))
    ended = score("predictions=rle.json", *words[1])
    assert ended.code == 0, ended.err
    assert Path("a.json").read_text() == Path("b.json").read_text()
    ended = score("predictions=rle.json", "output=c.json")
    assert ended.err.startswith("adnet: rle.json: 00000.png may be ")
    assert ended.err.endswith("val-001/00000.jpg: put the file beside its images\n")
