"""One job of a sweep."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from adnet.shared.files import write_json
from adnet.sweep.gpus import reserved

RANK_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)


_OF_THE_SWEEP = re.compile(r"[+~]*hydra[./](mode|sweep|sweeper|launcher|run|job\.num|output_subdir)\b")


def run_job(_: DictConfig) -> dict[str, Any]:
    """The task function of every job of a sweep: `python -m adnet.NAME` with this job's overrides, in a process of its own.

    So a job can't take the sweep down with it, and nothing of it is left for the next: no process group, rank, W&B run or
    memory. A rank that DDP starts in it replays this job's command line, which knows of no sweep. What the process prints
    goes to `log.txt` in the job's folder; how it ended is returned and kept in `job.json` there (`status` is `finished`,
    `failed`, `stopped`, or `busy` where another process works in the folder). Never raises for what the process does;
    being told to stop (SIGTERM, Ctrl-C) is handed on to it, and waited for.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    rank = int(os.environ.get("SLURM_PROCID", 0))  # of several tasks to a job, each runs one rank
    with _claimed(folder, rank) as lock:
        if lock is None:
            return {"status": "busy", "reason": "another process works in this folder"}
        command = [sys.executable, "-m", f"adnet.{hydra.job.config_name}", *_arguments(hydra, folder)]
        log = folder / ("log.txt" if rank == 0 else f"log-{rank}.txt")
        outcome: dict[str, Any] = {
            "overrides": list(hydra.overrides.task),
            "command": command,
            "log": str(log),
            "status": "stopped",
        }
        started = time.time()
        with reserved(hydra.sweeper.gpus_per_job) as gpus, log.open("a", errors="replace") as output:
            output.write(f"$ {' '.join(command[1:])}\n")
            output.flush()
            begin = output.tell()
            try:
                environment = _environment(folder) | gpus.environment
                code = _wait(command, environment, output, (lock.fileno(), *gpus.locks))
                reason = None if code == 0 else _reason(log, begin, code)
                outcome |= {"status": "failed" if code else "finished", "code": code, "reason": reason}
            finally:
                outcome["seconds"] = round(time.time() - started, 1)
                if rank == 0:
                    write_json(folder / "job.json", outcome)
                    print(f"{outcome['status']}: {folder.name}, {outcome['seconds']:.0f} s", flush=True)
    return outcome


@contextmanager
def _claimed(folder: Path, rank: int) -> Iterator[IO[str] | None]:
    """A lock on the job's folder, which the job's own process inherits: it lasts while either of the two lives."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            if rank == 0:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock


def _arguments(hydra: DictConfig, folder: Path) -> list[str]:
    """This job's overrides, without those of the sweep."""
    general = [override for override in hydra.overrides.hydra if not _OF_THE_SWEEP.match(override)]
    return [*hydra.overrides.task, *general, f"hydra.run.dir={quoted(str(folder))}"]


def quoted(value: str) -> str:
    """As a value in Hydra's override grammar, whatever it contains."""
    # A backslash is one by itself, but two before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + "\\'" * bool(match[2]), value) + "'"


def _environment(folder: Path) -> dict[str, str]:
    environment = dict(os.environ)
    if int(os.environ.get("SLURM_NTASKS", 1)) == 1:
        for name in RANK_VARIABLES:
            environment.pop(name, None)
        if "SLURM_NTASKS" in environment:
            # One task that starts its own ranks: Lightning else waits for Slurm to start them.
            environment["SLURM_JOB_NAME"] = "interactive"
    environment.setdefault("WANDB_RUN_GROUP", folder.parent.name)
    return environment


def _wait(command: Sequence[str], environment: dict[str, str], output: IO[str], locks: Sequence[int]) -> int:
    """The exit code of `command`, which inherits `locks`; its process group is gone when this returns or raises."""
    with _sigterm_raises():
        # A session of its own: Ctrl-C reaches it through us alone, and what it leaves behind can be found.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=locks,
            start_new_session=True,
        )
        try:
            return process.wait()
        finally:
            try:
                if process.poll() is None:
                    process.terminate()  # time for a checkpoint
                    process.wait()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends Python without a `finally`, unless it raises. A launcher's own handler does, and is left alone."""

    def stop(*_: Any) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    try:
        ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if ours:
            signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


_RAISED = re.compile(r"(?:\[rank\d+\]: ?)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Pruned)\b.*)")


def _reason(log: Path, begin: int, code: int) -> str:
    """The first line of what ended a process: a user's mistake, else the exception of its first traceback, else the signal."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode(errors="replace").replace("\r", "\n")
    if mistake := re.search(r"^adnet: (.+)$", text, re.MULTILINE):
        return mistake[1]
    lines = text.splitlines()
    raised = [(n, match[1]) for n, line in enumerate(lines) if (match := _RAISED.match(line))]
    for n, exception in raised:
        if not any(
            "direct cause of the following" in line or "During handling of the above" in line
            for line in lines[n + 1 : n + 4]
        ):
            return exception
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}, and no word")


def last_outcome(folder: Path) -> dict[str, Any] | None:
    """How the job of a folder ended the last time, if it ever began: what `run_job` returned."""
    try:
        outcome: dict[str, Any] = json.loads((folder / "job.json").read_text())
    except FileNotFoundError:
        return None
    return outcome
