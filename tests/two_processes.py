"""Two processes at the same time, ranks or commands, in a module that such a process can import."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from hydra._internal.hydra import Hydra
from torch.multiprocessing import start_processes

IMPORTED = (
    *(
        "adnet.predict",
        "adnet.report.__main__",
        "adnet.score",
        "adnet.backends.load",
        "adnet.inference.evaluate_dataset",
    ),
    *(
        "adnet.inference.predict_videos",
        "adnet.models.published",
        "adnet.training.checkpoints",
        "adnet.training.loggers",
    ),
    *("adnet.training.monitor", "adnet.training.run", "torch._dynamo"),
)
"""Before a process is forked: it begins at once then, and not some seconds after the other."""


def ranks(function: Callable[..., None], *arguments: object) -> None:
    """Call `function(rank, *arguments)` in two processes; a fork of this one, whose libraries have threads, may crash."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([*IMPORTED])
    start_processes(function, arguments, nprocs=2, start_method="forkserver")  # type: ignore[no-untyped-call]


def both(
    command: str, first: Sequence[str], second: Sequence[str], later: float, environment: Mapping[str, str]
) -> list[tuple[int | None, str]]:
    """Run a command with two lists of arguments in the working directory, the second so many seconds `later`.

    The exit code of each, None where it didn't end within a minute, and what it printed on stderr.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    begin = context.Barrier(3)
    logs = [Path.cwd().parent / f"{number}.log" for number in range(2)]
    processes = [
        context.Process(target=_run, args=(command, arguments, Path.cwd(), log, begin, delay, dict(environment)))
        for arguments, log, delay in zip((first, second), logs, (0, later), strict=True)
    ]
    for process in processes:
        process.start()
    begin.wait(timeout=120)
    for process in processes:
        process.join(timeout=60)
        if process.exitcode is None:
            process.kill()
    return [(process.exitcode, log.read_text()) for process, log in zip(processes, logs, strict=True)]


def _run(command, arguments, folder, log, begin, delay, environment) -> None:  # type: ignore[no-untyped-def]
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.update(environment)
    os.chdir(folder)
    module = import_module(f"adnet.{command}")
    main = (module if hasattr(module, "main") else import_module(f"adnet.{command}.__main__")).main
    # As in conftest.py: Hydra composes all once more, to see that nothing sets hydra.mode.
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    sys.argv = [f"adnet.{command}", *arguments]
    begin.wait()
    time.sleep(delay)
    main()
