from __future__ import annotations

import os
from pathlib import Path

import pytest

from adnet.sweep import gpus
from adnet.sweep.gpus import reserved


@pytest.fixture(autouse=True)
def _locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3,5")


def test_no_gpu_is_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved(1) as first, reserved(2) as second:
        assert (first, second) == ({"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "3,5"})

        class WaitedError(Exception):
            pass

        def sleep(_: float) -> None:
            raise WaitedError

        monkeypatch.setattr(gpus.time, "sleep", sleep)
        with pytest.raises(WaitedError), reserved(1):
            pass
    with reserved(9) as all_of_them:
        assert all_of_them == {"CUDA_VISIBLE_DEVICES": "0,3,5"}


@pytest.mark.parametrize("visible", ["", "-1"])
def test_without_gpus_nothing_changes(monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with reserved(1) as environment:
        assert environment == {}


def test_by_default_a_job_sees_what_we_see() -> None:
    with reserved(None) as environment:
        assert environment == {}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,3,5"
