"""Sweeps of a command that starts in a second, under every launcher of this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ReadonlyConfigError
from schemas import hold

from adnet import score
from adnet.shared.command import conf_dir
from adnet.sweep.runner import Sweep


@pytest.fixture
def arguments(tiny_davis: Path, tmp_path: Path) -> list[str]:
    """Two jobs: masks that are there, and masks that aren't."""
    annotations = shutil.copytree(tiny_davis / "Annotations" / "480p", tmp_path / "masks")
    return [
        "-m",
        f"data.root={tiny_davis}",
        f"predictions={annotations},{tmp_path}/nothing",
        f"output={tmp_path}/scores.json",
        "overwrite=true",
        "workers=1",
        f"hydra.sweep.dir={tmp_path}/sweep",
    ]


def check_table(ended: Any, folder: Path) -> None:
    """One finished, one failed, and the reason."""
    assert ended.code == 1
    table = ended.out[ended.out.rindex("\nsweep ") :]
    assert f"sweep {folder}: 1 finished, 1 failed\n" in table
    rows = hold(folder / "sweep.json")
    assert [json.loads((Path(row["folder"]) / "job.json").read_text())["status"] for row in rows] == [
        "finished",
        "failed",
    ]
    assert [row["status"] for row in rows] == ["finished", "failed"]
    assert rows[0]["log"] is not None
    failed = rows[1]
    assert "nothing" in failed["reason"]
    assert f"            {failed['reason']}\n            {failed['log']}\n" in table
    assert Path(failed["log"]).read_text().splitlines()[-1] == f"adnet: {failed['reason']}"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".") == [
        Path(row["folder"]).name for row in sorted(rows, key=lambda row: row["folder"])
    ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a real cluster of two nodes, each with room for one job, and without this shell's variables."""
    utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ADNET_DATA", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")  # it asks its makers' server else
        nodes = utils.Cluster(initialize_head=True, head_node_args={"include_dashboard": False})
        try:
            nodes.add_node()
            yield nodes.address
        finally:
            nodes.shutdown()


@pytest.mark.parametrize(
    "launcher",
    [
        ["local"],
        pytest.param(["joblib"], marks=pytest.mark.slow),
        pytest.param(["submitit_local"], marks=pytest.mark.slow),
        pytest.param(["ray", "hydra.launcher.init.num_cpus=null"], marks=pytest.mark.slow),
    ],
    ids=lambda launcher: launcher[0],
)
def test_a_job_that_fails_stops_no_other(
    run: Callable[..., Any],
    arguments: list[str],
    tmp_path: Path,
    launcher: list[str],
    request: pytest.FixtureRequest,
) -> None:
    if launcher[0] == "ray":
        launcher = [*launcher, f"hydra.launcher.init.address='{request.getfixturevalue('cluster')}'"]
    ended = run(score.main, *arguments, f"launcher={launcher[0]}", *launcher[1:])
    check_table(ended, tmp_path / "sweep")
    assert (tmp_path / "scores.json").is_file()
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_on_each_node_of_a_real_cluster(cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADNET_DATA", "/data")
    monkeypatch.chdir(tmp_path)

    def job(cfg: DictConfig) -> Any:
        import ray

        Path(f"{cfg.seed}.started").touch()
        while len(list(Path.cwd().glob("*.started"))) < 2:  # so that neither ends before the other begins
            time.sleep(0.1)
        return ray.get_runtime_context().get_node_id(), os.environ["ADNET_DATA"], os.getcwd()  # noqa: PTH109

    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = ["launcher=ray", f"hydra.launcher.init.address='{cluster}'", "hydra.launcher.init.num_cpus=null"]
        config = hydra.compose("train", settings, return_hydra_config=True)
        context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        launcher = Plugins.instance().instantiate_launcher(context, job, config)
        returned = launcher.launch([["launcher=ray", f"seed={seed}"] for seed in range(2)], 0)
    nodes, variables, folders = zip(*(each.return_value for each in returned), strict=True)
    assert len(set(nodes)) == 2
    assert set(variables) == {"/data"}
    assert set(folders) == {str(tmp_path)}


def test_what_has_finished_is_skipped(run: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    run(score.main, *arguments)
    finished, failed = (Path(row["folder"]) for row in json.loads((tmp_path / "sweep" / "sweep.json").read_text()))
    (finished / "summary.json").write_text('{"J": 0.5, "F": 0.25}')  # as a training leaves
    before = (finished / "job.json").stat().st_mtime_ns

    ended = run(score.main, *arguments)
    assert ended.code == 1
    assert "1 skipped (finished before), 1 failed\n" in ended.out
    assert re.search(rf"skipped   {re.escape(finished.name)} +J  50.0  F  25.0\n", ended.out)
    assert (finished / "job.json").stat().st_mtime_ns == before
    assert (failed / "log.txt").read_text().count("$ -m adnet.score") == 2

    (failed / "summary.json").write_text("{}")
    ended = run(score.main, *arguments)
    assert (ended.code, "2 skipped (finished before)\n" in ended.out) == (0, True)

    (failed / "summary.json").write_text('{"steps": 1}')
    (failed / "config.yaml").write_text("steps: 2")
    assert "1 skipped (finished before), 1 failed\n" in run(score.main, *arguments).out

    # Other settings are another sweep.
    ended = run(score.main, *arguments, "workers=2")
    assert ended.code == 1
    assert ended.err == (
        f"adnet: {finished} holds a finished run of workers=1, not workers=2; give another hydra.sweep.dir\n"
    )


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("worker=1,2", "unknown key worker; did you mean workers?"),
        ("+worker=1,2", "unknown key worker; did you mean workers?"),
        ("launcher=jobli", "no launcher is called 'jobli'; did you mean joblib?"),
        ("workers=interval(1,2)", "BasicSweeper does not support sweep type : INTERVAL_SWEEP"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    run: Callable[..., Any], arguments: list[str], tmp_path: Path, argument: str, line: str
) -> None:
    ended = run(score.main, *arguments, argument)
    assert (ended.code, ended.err) == (1, f"adnet: {line}\n")
    assert not (tmp_path / "sweep").exists()


def test_a_launcher_that_is_not_installed_names_its_extra(
    run: Callable[..., Any], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra.core.config_store import ConfigStore

    launchers = dict(ConfigStore.instance().repo["hydra"]["launcher"])
    del launchers["joblib.yaml"]
    monkeypatch.setitem(ConfigStore.instance().repo["hydra"], "launcher", launchers)
    ended = run(score.main, *arguments, "launcher=joblib")
    assert (ended.code, ended.err) == (1, "adnet: launcher=joblib needs the extra: pip install 'adnet[joblib]'\n")


def test_by_default_the_folder_is_the_command_s(run: Callable[..., Any]) -> None:
    run(score.main, "-m", "data.root=x", "predictions=nowhere")
    (sweep,) = Path("runs/sweeps").iterdir()
    assert sweep.name == "score-root-x+predictions-nowhere"
    assert {path.name for path in sweep.iterdir()} == {"multirun.yaml", "sweep.json", "one"}


def test_the_config_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra 1.4 hands it over so."""
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": "runs"}}})
    OmegaConf.set_readonly(config, True)
    nothing: Any = None
    assert Sweep(config, nothing).folder == Path(config.hydra.sweep.dir) == tmp_path / "runs"
    with pytest.raises(ReadonlyConfigError):
        config.hydra.sweep.dir = "elsewhere"
