"""Synthetic videos: what is on disk, when it is reused, and what the pictures promise."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from adnet.data.masks import read_mask
from adnet.data.pictures import read_frame
from adnet.data.synthetic import synthesize
from adnet.errors import UserError

# The package has a function of the same name, which `import ... as` would find instead.
module = import_module("adnet.data.synthetic")

SMALL: dict[str, Any] = {"train": 2, "val": 1, "frames": 3, "size": (96, 160)}


def digests(root: Path, pattern: str = "*") -> dict[str, str]:
    files = [path for path in root.rglob(pattern) if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, sequence: str) -> None:
    """Make generation fail when it comes to `sequence`, after one of its frames."""
    write_sequence = module._write_sequence

    def write(root: Path, name: str, frames: Iterator[Any]) -> Iterator[str]:
        for line in write_sequence(root, name, frames):
            yield line
            if name == sequence:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_sequence", write)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("reference") / "synthetic", **SMALL)


def test_layout_is_that_of_davis(reference: Path) -> None:
    names = {"train": ["train-000", "train-001"], "val": ["val-000"]}
    for split, sequences in names.items():
        lines = (reference / "ImageSets" / "480p" / f"{split}.txt").read_text().splitlines()
        assert lines == [
            f"/JPEGImages/480p/{name}/{index:05d}.jpg /Annotations/480p/{name}/{index:05d}.png"
            for name in sequences
            for index in range(3)
        ]
        for line in lines:
            image, annotation = (reference / part.removeprefix("/") for part in line.split())
            assert read_frame(image).shape == (96, 160, 3)
            assert read_mask(annotation).shape == (96, 160)
            assert set(np.unique(cv2.imread(str(annotation), cv2.IMREAD_UNCHANGED))) == {0, 255}


def test_nothing_but_the_dataset_is_left(reference: Path) -> None:
    names = {path.name for path in reference.iterdir()}
    assert names == {"JPEGImages", "Annotations", "ImageSets", "synthetic.json"}
    assert not list(reference.rglob("*.tmp"))
    parameters = json.loads((reference / "synthetic.json").read_text())
    assert parameters == {"version": module.VERSION, "seed": 0, **SMALL, "size": [96, 160]}


def test_bytes_depend_on_the_seed_alone(reference: Path, tmp_path: Path) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1 if threads > 1 else 4)
    try:
        again = synthesize(tmp_path / "again", **SMALL)
    finally:
        cv2.setNumThreads(threads)
    assert digests(again) == digests(reference)
    other = digests(synthesize(tmp_path / "other", **SMALL, seed=1), "*.jpg")
    same = digests(reference, "*.jpg")
    assert other.keys() == same.keys()
    assert not set(other.values()) & set(same.values())


def test_asking_for_more_leaves_the_earlier_ones(reference: Path, tmp_path: Path) -> None:
    more = synthesize(tmp_path / "more", **{**SMALL, "train": 3, "val": 2})
    fewer, larger = (digests(root / "JPEGImages") | digests(root / "Annotations") for root in (reference, more))
    assert fewer.items() < larger.items()
    assert (more / "JPEGImages/480p/train-002/00002.jpg").is_file()


def test_every_frame_of_every_sequence_is_another(reference: Path) -> None:
    frames = digests(reference, "*.jpg")
    assert len(frames) == 9
    assert len(set(frames.values())) == 9


def test_a_split_may_be_empty(tmp_path: Path) -> None:
    root = synthesize(tmp_path / "synthetic", **{**SMALL, "val": 0})
    assert (root / "ImageSets/480p/val.txt").read_text() == ""


def test_a_finished_cache_is_reused(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "synthetic_video", lambda *_: pytest.fail("generated again"))
    assert synthesize(reference, **SMALL) == reference


@pytest.mark.parametrize("other", [{"train": 3}, {"frames": 4}, {"size": (96, 168)}, {"seed": 1}])
def test_other_parameters_are_refused(reference: Path, other: dict[str, Any]) -> None:
    before = digests(reference)
    with pytest.raises(UserError, match=r"other parameters, .*; choose another folder or delete"):
        synthesize(reference, **{**SMALL, **other})
    assert digests(reference) == before


def test_a_cache_of_an_older_version_is_refused(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    with pytest.raises(UserError, match="other parameters"):
        synthesize(reference, **SMALL)


def test_nothing_half_written_is_left(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "synthetic"
    with monkeypatch.context() as patch:
        interrupt_at(patch, "train-001")
        with pytest.raises(KeyboardInterrupt):
            synthesize(root, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".synthetic.lock"]
    assert digests(synthesize(root, **SMALL)) == digests(reference)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_is_not_ours_is_left_alone(tmp_path: Path, place: str) -> None:
    root = tmp_path / "DAVIS"
    precious = root if place == "file" else root / "JPEGImages" / "480p" / "bear" / "00000.jpg"
    precious.parent.mkdir(parents=True, exist_ok=True)
    precious.write_text("precious")
    with pytest.raises(UserError, match="something other"):
        synthesize(root, **SMALL)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [precious]
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"train": -1}, {"val": -1}, {"seed": -1}, {"size": (96, 16)}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no synthetic videos of"):
        synthesize(tmp_path / "synthetic", **{**SMALL, **wrong})
    assert not list(tmp_path.iterdir())


def test_of_several_at_once_one_generates(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []
    sequence = module.synthetic_video

    def counted(*args: Any) -> Iterator[Any]:
        made.append(args)
        return sequence(*args)  # type: ignore[no-any-return]

    monkeypatch.setattr(module, "synthetic_video", counted)
    with ThreadPoolExecutor(4) as pool:
        roots = list(pool.map(lambda _: synthesize(tmp_path / "synthetic", **SMALL), range(4)))
    assert set(roots) == {tmp_path / "synthetic"}
    assert len(made) == SMALL["train"] + SMALL["val"]
    assert digests(roots[0]) == digests(reference)


def test_of_two_with_other_parameters_one_is_refused(tmp_path: Path) -> None:
    def attempt(seed: int) -> int | UserError:
        try:
            synthesize(tmp_path / "synthetic", **SMALL, seed=seed)
        except UserError as error:
            return error
        return seed

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, [0, 1]))
    (winner,) = (outcome for outcome in outcomes if isinstance(outcome, int))
    assert sum(isinstance(outcome, UserError) for outcome in outcomes) == 1
    assert json.loads((tmp_path / "synthetic" / "synthetic.json").read_text())["seed"] == winner
    assert digests(tmp_path / "synthetic") == digests(synthesize(tmp_path / "alone", **SMALL, seed=winner))


@pytest.mark.slow
def test_two_processes_at_once_agree(reference: Path, tmp_path: Path) -> None:
    command = f"""
from pathlib import Path
from adnet.data.synthetic import synthesize
synthesize(Path({str(tmp_path / "synthetic")!r}), **{SMALL!r})
"""
    processes = [subprocess.Popen([sys.executable, "-c", command]) for _ in range(2)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    assert digests(tmp_path / "synthetic") == digests(reference)
