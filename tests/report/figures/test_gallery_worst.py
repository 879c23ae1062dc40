"""The worst frames are the worst, and bear the right names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adnet.errors import UserError
from adnet.report.analysis.pooling import Comparison, pool
from adnet.report.figures.gallery import worst_frames, worst_gallery
from adnet.report.read import find_runs

NAMES = {"bear": ["00001", "00002", "00003", "00004"]}


def scored(run: Path, frames: dict[str, list[float]], stems: dict[str, list[str]] | None = None) -> Comparison:
    """The comparison of `run` with these J per frame, and with names of the frames unless an older version wrote it."""
    (file,) = run.glob("evaluation/*/scores.json")
    scores = json.loads(file.read_text())
    for name, sequence in scores["sequences"].items():
        del sequence["frames"], sequence["J"]["frames"]
        if name in frames:
            sequence["J"]["frames"] = frames[name]
        if name in (stems or {}):
            sequence["frames"] = stems[name]
    file.write_text(json.dumps(scores))
    (comparison,) = pool(find_runs([run]))
    return comparison


def test_worst_first_and_named_as_the_scores_have_them(make_run: Callable[..., Path], davis: Path) -> None:
    """By number where an older version did not name them: not even the masks can tell which frames were scored."""
    run = make_run("0", root=davis, dataset="folder")
    frames = {"bear": [0.9, 0.1, 0.8, 0.7], "camel": [0.5, 0.6, 0.7, 0.8, 0.9, 0.2], "dog": [0.3]}
    (result,) = scored(run, frames, {"bear": ["00000", "00001", "00004", "00005"]}).results
    found = worst_frames(result)
    assert [(f.sequence, f.frame, f.J) for f in found[:3]] == [
        ("bear", "00001", 0.1),
        ("camel", "#6", 0.2),
        ("dog", "#1", 0.3),
    ]
    assert [frame.J for frame in found] == sorted(frame.J for frame in found)
    assert len(found) == 11


def test_names_and_values_of_another_number_are_refused(make_run: Callable[..., Path], davis: Path) -> None:
    with pytest.raises(UserError, match="bear has 1 frames, but not as many values of J"):
        scored(make_run("0", root=davis), {"bear": [0.9, 0.1]}, {"bear": ["00000"]})


def test_gallery(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> None:
    comparison = scored(make_run("0", root=davis), {"bear": [0.9, 0.1, 0.8, 0.7], "dog": [0.3]}, NAMES)
    gallery = worst_gallery(comparison, tmp_path, "worst", 8, 48)
    assert gallery is not None
    ((first, second),) = gallery.groups.values()
    assert (first["label"], first["scores"]) == ("bear 00002", "J 10.0")
    assert first["source"].startswith("data:image/jpeg")
    assert (second["label"], second["source"]) == ("dog #1", "")
    assert [file.name for file in tmp_path.glob("worst*.png")] == ["worst-full-bear-00002.png"]
    lines = (tmp_path / "worst.csv").read_text().splitlines()
    assert lines[:2] == ["variant,sequence,frame,J", "full,bear,00002,10.0"]
    assert len(lines) == 6


def test_no_values_per_frame_no_gallery(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> None:
    comparison = scored(make_run("0", root=davis), {})
    assert worst_gallery(comparison, tmp_path, "worst", 8, 48) is None
    assert worst_gallery(comparison, tmp_path, "worst", 0, 48) is None
