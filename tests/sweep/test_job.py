"""What a job leaves behind, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from adnet.sweep import gpus, job
from adnet.sweep.job import last_outcome, run_job


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a job whose process is whatever `process` makes it."""
    folder = tmp_path / "sweep" / "seed-0"
    hydra = {
        "runtime": {"output_dir": str(folder)},
        "job": {"config_name": "score"},
        "overrides": {"task": ["seed=0"], "hydra": ["hydra.mode=MULTIRUN", "hydra.sweep.dir=x", "hydra.verbose=true"]},
        "sweeper": {"gpus_per_job": None},
    }
    config = OmegaConf.create(hydra)
    monkeypatch.setattr(HydraConfig, "get", lambda: config)
    return folder


def process(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def start(_: Any, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], **options)

    monkeypatch.setattr(job, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))


def outcome(folder: Path) -> dict[str, Any]:
    returned = run_job(DictConfig({}))
    assert last_outcome(folder) == returned
    return returned


def test_both_streams_are_in_the_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(monkeypatch, "import sys; print('to stdout', flush=True); print('to stderr', file=sys.stderr)")
    ended = outcome(folder)
    assert (ended["status"], ended["code"], ended["reason"], ended["overrides"]) == ("finished", 0, None, ["seed=0"])
    assert (
        Path(ended["log"]).read_text()
        == f"$ -m adnet.score seed=0 hydra.verbose=true hydra.run.dir='{folder}'\nto stdout\nto stderr\n"
    )


def test_a_training_short_of_its_steps_has_stopped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HydraConfig.get().job.config_name = "train"
    process(monkeypatch, "print('stopped after 1 of 8 steps')")
    ended = outcome(folder)
    assert (ended["status"], ended["code"], ended["reason"]) == ("stopped", 0, "stopped after 1 of 8 steps")
    write = "import pathlib; pathlib.Path({!r}).write_text('{{\"steps\": 8}}')"
    process(monkeypatch, write.format(str(folder / "summary.json")))
    assert outcome(folder)["status"] == "finished"
    (folder / "config.yaml").write_text("steps: 9")
    assert outcome(folder)["status"] == "stopped"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; print('Epoch 1', end='\\r'); sys.exit('adnet: no dataset at x')", "no dataset at x"),
        ("raise ValueError('first line\\nsecond')", "ValueError: first line"),
        (
            """
            try:
                raise KeyError('inner')
            except KeyError as error:
                raise RuntimeError('outer') from error
            """,
            "RuntimeError: outer",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("import sys; print('last words'); sys.exit(3)", "last words"),
        ("import sys; sys.exit(3)", "exit code 3, without any output"),
        # One rank fails, another for want of it.
        (
            "import sys; print('adnet: cannot read a.jpg'); raise RuntimeError('Connection closed by peer')",
            "cannot read a.jpg",
        ),
    ],
)
def test_the_reason_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str) -> None:
    process(monkeypatch, code)
    ended = outcome(folder)
    assert (ended["status"], ended["reason"]) == ("failed", reason)


def test_the_reason_is_that_of_the_last_attempt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2):
        process(monkeypatch, f"raise ValueError({n})")
        assert outcome(folder)["reason"] == f"ValueError: {n}"
    assert (folder / "log.txt").read_text().count("Traceback") == 2


def test_a_folder_in_which_another_works_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(monkeypatch, "print('here')")
    folder.mkdir(parents=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_job(DictConfig({}))["status"] == "busy"
    assert not (folder / "log.txt").exists()
    assert outcome(folder)["status"] == "finished"


def test_the_job_holds_its_gpus_itself(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that none of them is handed out again where the sweep is killed and the job lives on."""
    monkeypatch.setattr(gpus, "FOLDER", tmp_path / "gpus")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(HydraConfig.get().sweeper, "gpus_per_job", 1)
    process(
        monkeypatch,
        f"""
        import os
        inherited = [os.fstat(int(n)) for n in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{{n}}")]
        print(any(os.path.samestat(file, os.stat({str(tmp_path / "gpus" / "7")!r})) for file in inherited))
        """,
    )
    assert outcome(folder)["status"] == "finished"
    assert (folder / "log.txt").read_text().splitlines()[1] == "True"


def test_no_rank_of_ours_is_a_job_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in job.RANK_VARIABLES:
        monkeypatch.setenv(name, "1")
    before = dict(os.environ)
    process(monkeypatch, "import json, os; print(json.dumps(dict(os.environ)))")
    outcome(folder)
    environment = json.loads((folder / "log.txt").read_text().splitlines()[1])
    assert not set(job.RANK_VARIABLES) & set(environment)
    assert environment["WANDB_RUN_GROUP"] == "sweep"
    assert dict(os.environ) == before


def test_told_to_stop_it_tells_the_job_and_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(
        monkeypatch,
        """
        import os, pathlib, signal, subprocess, sys, time
        def checkpoint(*_):
            print('checkpoint', flush=True)
            sys.exit(1)
        signal.signal(signal.SIGTERM, checkpoint)
        print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(600)
        """,
    )
    with pytest.raises(SystemExit):
        run_job(DictConfig({}))
    ended = last_outcome(folder)
    assert ended is not None
    assert ended["status"] == "stopped"
    _, grandchild, line = (folder / "log.txt").read_text().splitlines()
    assert line == "checkpoint"
    deadline = time.monotonic() + 20
    while _lives(int(grandchild)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(int(grandchild))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def _lives(process: int) -> bool:
    state = Path(f"/proc/{process}/stat")
    if not state.parent.parent.joinpath("self").exists():
        pytest.skip("needs /proc")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_number_of_an_earlier_process_is_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another's by now, which `stop_jobs` would end before the job's process has begun."""
    folder.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as another:
        (folder / ".lock").write_text(f"{socket.gethostname()} {another.pid}")

        def start(_: Any, **options: Any) -> subprocess.Popen[Any]:
            assert job._is_locked(folder)
            job.stop_jobs([folder])
            assert another.poll() is None
            return subprocess.Popen([sys.executable, "-c", ""], **options)

        monkeypatch.setattr(job, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
        assert outcome(folder)["status"] == "finished"
