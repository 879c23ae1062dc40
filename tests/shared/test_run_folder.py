from __future__ import annotations

import json
from pathlib import Path

import pytest

from adnet.errors import UserError
from adnet.shared.run_folder import finished_summary, read_config


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
