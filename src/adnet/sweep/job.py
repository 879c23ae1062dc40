"""Run one job of a sweep in its own process."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from adnet.shared.command import quoted
from adnet.shared.files import read_json, write_json
from adnet.shared.locks import try_lock
from adnet.shared.machine import handling
from adnet.shared.run_folder import finished_summary
from adnet.sweep.gpus import reserved, undo_hiding

RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
_OF_THE_SWEEP = re.compile(r"[+~]*hydra[./](mode|sweep|sweeper|launcher|run|job\.num|output_subdir)\b")


def run_job(_: DictConfig) -> dict[str, Any]:
    """Run `python -m adnet.NAME` with this job's overrides in a new process: the task function of every job of a sweep.

    So a job cannot take the sweep down, and leaves no process group, rank, W&B run or memory to the next. The output goes to `log.txt`
    in the job's folder, the outcome to `job.json` there, and is returned: `status` is `finished`, `failed`, `stopped` (a training, too,
    that ends before its last step), or `busy` if another process works in the folder. SIGTERM and Ctrl-C are passed on.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    rank = int(os.environ.get("SLURM_PROCID", 0))  # with several Slurm tasks per job, each runs one rank
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open(
        "a", encoding="utf-8"
    ) as lock:  # the process inherits it: it lasts as long as either lives
        if rank == 0:
            if not try_lock(lock.fileno()):
                return {"status": "busy", "reason": "another process works in this folder"}
            lock.truncate(0)  # of the number of an earlier process
        of_hydra = [override for override in hydra.overrides.hydra if not _OF_THE_SWEEP.match(override)]
        arguments = [*hydra.overrides.task, *of_hydra, f"hydra.run.dir={quoted(str(folder))}"]
        command = [sys.executable, "-m", f"adnet.{hydra.job.config_name}", *arguments]
        log = folder / ("log.txt" if rank == 0 else f"log-{rank}.txt")
        outcome: dict[str, Any] = {"overrides": list(hydra.overrides.task), "command": command}
        outcome |= {"log": str(log), "status": "stopped"}
        started = time.time()
        undo_hiding()
        with reserved(hydra.sweeper.gpus_per_job) as gpus, log.open("a", encoding="utf-8", errors="replace") as output:
            output.write(f"$ {' '.join(command[1:])}\n")
            output.flush()
            begin = output.tell()
            try:
                code = _wait(command, _environment(folder) | gpus.environment, output, lock, gpus.locks)
                # A training may end well, and yet short of its steps.
                short = hydra.job.config_name == "train" and finished_summary(folder) is None
                status = "failed" if code else "stopped" if short else "finished"
                reason = None if status == "finished" else _reason(log, begin, code)
                outcome |= {"status": status, "code": code, "reason": reason}
            finally:
                outcome["seconds"] = round(time.time() - started, 1)
                if rank == 0:
                    write_json(folder / "job.json", outcome)
                    print(f"{outcome['status']}: {folder.name}, {outcome['seconds']:.0f} s", flush=True)
    return outcome


def _environment(folder: Path) -> dict[str, str]:
    environment = dict(os.environ)
    if int(os.environ.get("SLURM_NTASKS", 1)) == 1:
        for name in RANK_VARIABLES:
            environment.pop(name, None)
        if "SLURM_NTASKS" in environment:
            # This task starts its own ranks. Otherwise Lightning waits for Slurm to start them.
            environment["SLURM_JOB_NAME"] = "interactive"
    environment.setdefault("WANDB_RUN_GROUP", folder.parent.name)
    environment["PYTHONIOENCODING"] = "utf-8"  # of the log, whatever the locale
    return environment


def stop_jobs(folders: Iterable[Path]) -> None:
    """Send SIGTERM to the jobs that run in `folders` on this machine, and wait until they have saved and ended."""
    running = []
    for folder in filter(_is_locked, folders):
        host, _, number = (folder / ".lock").read_text(encoding="utf-8").partition(" ")
        if host == socket.gethostname() and number.isdecimal():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGTERM)
            running.append(folder)
    while any(map(_is_locked, running)):
        time.sleep(0.2)


def _is_locked(folder: Path) -> bool:
    with suppress(FileNotFoundError), (folder / ".lock").open(encoding="utf-8") as lock:
        return not try_lock(lock.fileno(), shared=True)
    return False


def _wait(
    command: Sequence[str], environment: dict[str, str], output: IO[str], lock: IO[str], gpus: Sequence[int]
) -> int:
    """Run `command`, which inherits `lock` and those of `gpus`, then kill its process group; return its exit code."""
    # So that `finally` blocks run; a launcher's own handler stays.
    with handling(signal.SIGTERM, lambda number, _: sys.exit(128 + number)):
        # In its own session, the process gets Ctrl-C only from us, and the processes that it leaves behind can be killed.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(lock.fileno(), *gpus),
            start_new_session=True,
        )
        try:
            if not int(environment.get("SLURM_PROCID", 0)):
                lock.truncate(0)
                lock.write(f"{socket.gethostname()} {process.pid}")
                lock.flush()
            return process.wait()
        finally:
            try:
                if process.poll() is None:
                    process.terminate()  # time for a checkpoint
                    process.wait()
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


_RAISED = re.compile(r"(?:\[rank\d+\]: ?)?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Pruned)\b.*)")
_LEADS = re.compile("direct cause of the following|During handling of the above")


def _reason(log: Path, begin: int, code: int) -> str:
    """Say in one line why a process failed: the user's mistake, the exception of its first traceback, or the signal."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode(errors="replace").replace("\r", "\n")
    if mistake := re.search(r"^adnet: (.+)$", text, re.MULTILINE):
        return mistake[1]
    lines = text.splitlines()
    for number, line in enumerate(lines):
        # An exception that leads to another is followed by a line that says so.
        leads = any(_LEADS.search(after) for after in lines[number + 1 : number + 4])
        if (raised := _RAISED.match(line)) and not leads:
            return raised[1]
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {code}, without any output")


def last_outcome(folder: Path) -> dict[str, Any] | None:
    """Return the last outcome of the job in a folder, as `run_job` returned it; None if it never started."""
    file = folder / "job.json"
    return read_json(file) if file.is_file() else None
