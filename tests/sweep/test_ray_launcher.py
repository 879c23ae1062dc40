from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import hydra
import pytest

from adnet.errors import UserError
from adnet.shared.command import conf_dir
from adnet.sweep.ray_launcher import launch_on_ray


def launched(
    monkeypatch: pytest.MonkeyPatch, gpus: int, num_gpus: int | None, init: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What a cluster with so many GPUs is asked to give each job; `init` gets what it is begun with."""
    given = {} if init is None else init
    asked: list[dict[str, Any]] = []
    there = {"CPU": 8.0} | ({"GPU": float(gpus)} if gpus else {})

    def remote(**options: Any) -> Any:
        asked.append(options)
        return lambda _: SimpleNamespace(remote=lambda *arguments: arguments[0])

    ray = SimpleNamespace(
        is_initialized=lambda: False,
        init=given.update,
        cluster_resources=lambda: there,
        remote=remote,
        get=list,
        shutdown=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    nothing: Any = None
    options = {"num_cpus": 1, "num_gpus": num_gpus, "max_retries": 0}
    assert launch_on_ray(nothing, nothing, nothing, [["seed=0"], ["seed=1"]], 0, dict(given), options) == [
        ["seed=0"],
        ["seed=1"],
    ]
    return asked


@pytest.mark.parametrize(
    ("gpus", "num_gpus", "expected"), [(4, None, 1), (1, None, 1), (0, None, 0), (4, 2, 2), (4, 0, 0)]
)
def test_a_job_gets_a_gpu_where_there_is_one(
    gpus: int, num_gpus: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launched(monkeypatch, gpus, num_gpus) == [{"num_cpus": 1, "num_gpus": expected, "max_retries": 0}]


def test_jobs_have_the_variables_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADNET_DATA", "/data")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("LOCAL_RANK", "1")
    init: dict[str, Any] = {"address": "auto", "runtime_env": {"pip": ["x"], "env_vars": {"WANDB_MODE": "online"}}}
    launched(monkeypatch, 0, None, init)
    assert init["address"] == "auto"
    assert init["runtime_env"]["pip"] == ["x"]
    variables = init["runtime_env"]["env_vars"]
    assert (variables["ADNET_DATA"], variables["WANDB_MODE"]) == ("/data", "online")
    assert "LOCAL_RANK" not in variables


def test_the_default_leaves_it_to_the_cluster() -> None:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        launcher = hydra.compose("train", ["launcher=ray"], return_hydra_config=True).hydra.launcher
    assert launcher.remote.num_gpus is None


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    nothing: Any = None
    with pytest.raises(UserError, match=r"pip install 'adnet\[ray\]'"):
        launch_on_ray(nothing, nothing, nothing, [], 0, {}, {})
