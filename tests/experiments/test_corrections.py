from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adnet.data.synthetic import synthesize
from adnet.models import ADNet
from adnet.models.checkpoint import write_checkpoint
from adnet.shared.files import read_json


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("corrections/corrections.py")


def test_what_was_given_does_not_count(
    script: ModuleType, tmp_path: Path, tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize(tmp_path / "DAVIS", train=0, val=1, frames=7, size=(64, 112))
    write_checkpoint(tmp_path / "tiny.ckpt", tiny_model, (33, 57))
    monkeypatch.setenv("ADNET_DATA", str(tmp_path))
    said = iter([np.array([0.9, 0.5, 0.4, 0.8, 0.1, 0.6, 0.0]), np.full(7, 0.7), np.full(7, 1.0)])
    monkeypatch.setattr(script, "similarities", lambda *_: next(said))
    learned = []
    monkeypatch.setattr(script, "adapt", lambda network, _, masks, size: learned.append([*masks]) or network)  # noqa: ARG005
    result = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["corrections", str(result), "--checkpoint", str(tmp_path / "tiny.ckpt")])
    script.main()
    assert learned == [["00000"], ["00000", "00003", "00004"]]
    (scores,) = read_json(result)["sequences"].values()
    assert (scores["1"]["before"], scores["1"]["after"]) == (0.48, 0.7)  # of frames 1 to 5
    assert (scores["3"]["before"], scores["3"]["after"]) == (0.5, 1)  # of frames 1, 2 and 5
    assert "| mean | 48.0 | 70.0 | +22.0 | 50.0 | 100.0 | +50.0 |" in result.with_suffix(".md").read_text()

    script.main()  # everything is there already
    assert len(learned) == 2


def test_of_several_at_a_time_each_is_written_when_it_is_done(
    script: ModuleType, tmp_path: Path, tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthesize(tmp_path / "DAVIS", train=0, val=2, frames=2, size=(48, 80))
    write_checkpoint(tmp_path / "tiny.ckpt", tiny_model, (33, 57))
    result, written = tmp_path / "result.json", list[bool]()

    def measured(_: Path, sequence: Any) -> tuple[str, Any]:
        """The first takes until the second is written."""
        if sequence.name == "val-000":
            end = time.monotonic() + 60
            while not result.exists() and time.monotonic() < end:
                time.sleep(0.01)
            written.append(result.exists())
        return sequence.name, {key: {"before": 0.5, "after": 0.75, "seconds": 1} for key in ("1", "3")}

    monkeypatch.setenv("ADNET_DATA", str(tmp_path))
    monkeypatch.setattr(script, "measured", measured)
    monkeypatch.setattr(script, "ProcessPoolExecutor", lambda number, _: ThreadPoolExecutor(number))
    arguments = [str(result), "--checkpoint", str(tmp_path / "tiny.ckpt"), "--processes", "2"]
    monkeypatch.setattr(sys, "argv", ["corrections", *arguments])
    script.main()
    assert written == [True]
    assert [*read_json(result)["sequences"]] == ["val-000", "val-001"]


def test_similarities_are_those_of_each_frame(script: ModuleType, tmp_path: Path, tiny_model: ADNet) -> None:
    dataset = script.davis2016(synthesize(tmp_path / "data", train=0, val=1, frames=3, size=(64, 112)))
    (sequence,) = dataset.sequences
    (source,) = script.video_sources(str(sequence.frames[0].parent))
    scores = script.similarities(tiny_model, (33, 57), source, sequence)
    assert scores.shape == (3,)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_page_has_the_table_of_the_committed_result(script: ModuleType) -> None:
    folder = Path(script.__file__ or "").parent
    table = "\n".join(script.table(read_json(folder / "val.json")["sequences"]))
    assert table in (folder / "README.md").read_text()
