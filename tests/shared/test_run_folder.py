from __future__ import annotations

import json
from pathlib import Path

import pytest

from adnet.errors import UserError
from adnet.shared.run_folder import finished_summary, read_config, read_metrics


@pytest.mark.parametrize(("steps", "finished"), [(7, False), (8, True), (9, True), (None, True)])
def test_a_run_is_finished_when_it_has_its_steps(tmp_path: Path, steps: int | None, finished: bool) -> None:
    (tmp_path / "config.yaml").write_text("steps: 8\n")
    assert finished_summary(tmp_path) is None
    summary = {"variant": "full"} | ({} if steps is None else {"steps": steps})
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert finished_summary(tmp_path) == (summary if finished else None)


def test_a_summary_without_a_config_is_believed(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"steps": 1}')
    assert finished_summary(tmp_path) == {"steps": 1}
    assert read_config(tmp_path) == {}


@pytest.mark.parametrize("content", ["- a\n", "a: [", "\x00"])
def test_what_is_no_config_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError) as error:
        read_config(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/config.yaml: ")
    assert "\n" not in str(error.value)


def test_metrics_are_read_without_empty_cells_and_a_line_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    assert read_metrics(file) == []
    file.write_text("epoch,step,train/loss,val/J\n0,3,0.25,\n0,4,,0.5\n1,5,0.")
    assert read_metrics(file) == [
        {"epoch": "0", "step": "3", "train/loss": "0.25"},
        {"epoch": "0", "step": "4", "val/J": "0.5"},
    ]
    file.write_text("step,val/J\n3,0.25,7\n")
    with pytest.raises(UserError, match=r"metrics\.csv: expected numbers below a header with `step`"):
        read_metrics(file)
