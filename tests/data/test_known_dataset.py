"""A dataset is one entry: with a file of code and one of config, all that reads datasets knows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adnet.data.known_dataset import DATASETS
from adnet.data.masks import write_mask
from adnet.download import main as download
from adnet.report.figures.gallery import find_sequence, overlay
from adnet.report.read import Evaluation
from adnet.score import main as score

ENTRY = """
from functools import partial
from adnet.data.known_dataset import KnownDataset, Split
from adnet.data.videos import checked_sequence, images_in, select, subfolders

def every_second_frame(sequence):
    return [frame.stem for frame in sequence.frames[::2]]

@partial(
    KnownDataset,
    scored=every_second_frame,
    splits={"test": Split(2)},
    page="ask us at https://example.org",
)
def ours(root, split="test", sequences=None):
    '''Find videos of ours.

    `root` holds `videos/SEQUENCE`
    and `truth/SEQUENCE`.
    '''
    for name in select(subfolders(root / "videos"), sequences):
        yield checked_sequence(root, name, images_in(root / "videos" / name), images_in(root / "truth" / name))
"""
CONFIG = "defaults: [folder]\n_target_: our_code.ours\nroot: ???\nsplit: test\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dataset of `ENTRY`: two videos of five frames, black ones, and as annotation a square that moves."""
    (tmp_path / "code" / "conf" / "data").mkdir(parents=True)
    (tmp_path / "code" / "our_code.py").write_text(ENTRY)
    (tmp_path / "code" / "conf" / "data" / "ours.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setitem(DATASETS, "ours", None)  # put back after the test, for which the entry takes its place
    for name in ("a", "b"):
        for number in range(5):
            mask = np.zeros((24, 32), bool)
            mask[4:12, number : number + 8] = True
            write_mask(tmp_path / "data" / "truth" / name / f"{number}.png", mask)
            write_mask(tmp_path / "data" / "videos" / name / f"{number}.png", ~mask & mask)
    return tmp_path / "data"


def test_one_file_and_one_config_add_a_dataset(
    run: Callable[..., Any], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"hydra.searchpath=[file://{tmp_path / 'code' / 'conf'}]", "data=ours"]
    ended = run(score, *words, f"data.root={root}", f"predictions={root / 'truth'}", "data.val_sequences=[b]")
    assert ended.code == 0, ended.err
    scores = json.loads(Path("scores.json").read_text())
    assert (scores["dataset"], scores["split"]) == ("ours", "test")
    assert {name: row["frames"] for name, row in scores["sequences"].items()} == {"b": ["0", "2", "4"]}
    ended = run(score, *words, f"data.root={root}", "predictions=x", "data.val_sequence=[b]")
    assert ended.err == "adnet: unknown key data.val_sequence; did you mean data.val_sequences?\n"

    ended = run(download, *words, f"data.root={tmp_path / 'nothing'}")
    assert ended.err.startswith("adnet: ours: ask us at https://example.org; then put it at ")
    assert "ours test: 2 sequences, 10 frames" in run(download, *words, f"data.root={root}").out

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs" / "hooks")
    from datasets_page import table

    row = "| `ours` | videos of ours. | ask us at <https://example.org> | every second frame | `root` holds `videos/SEQUENCE` and `truth/"
    assert row in table("what", "where", "scored frames", "layout")

    write_mask(tmp_path / "masks" / "a" / "3.png", np.ones((24, 32), bool))
    evaluation = Evaluation(tmp_path, "ours", "test", "paper", ("a", "b"), {}, root)
    picture = overlay(evaluation, find_sequence(evaluation, "a"), "3", 32)
    assert picture is not None
    assert (picture[4, 3:11] == 255).all()  # the annotation's outline
