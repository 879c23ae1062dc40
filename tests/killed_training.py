"""The process that test_kill.py starts and kills, in a module that such a process can import."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

ARGUMENTS = (
    "scale=smoke",
    "model.encoder.pretrained=false",
    "model.encoder.backbone=test_efficientnet",
    "model.encoder.aspp_channels=8",
    "model.encoder.embedding_channels=8",
    "model.head_channels=8",
    "optim.schedule.warmup=0",
    "trainer.accelerator=cpu",
    "pairs.augmentation.crop_size=[33,57]",
    "test_size=[33,57]",
    "test_at_end=false",
    "steps=12",
    "epoch_steps=4",
    "checkpoint_steps=3",  # in the middle of epochs, too
    "~callbacks.progress",
    "+trainer.enable_progress_bar=false",
)


def train(folder: Path, root: Path, death: str | None, environment: dict[str, str]) -> None:
    """What a process does; `death` is where it kills itself."""
    os.environ.update(environment)
    folder.parent.mkdir(exist_ok=True)
    log = os.open(folder.with_suffix(".log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder.parent)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as where a run is started by hand
    if death:
        die_while_writing(death)
    from hydra._internal.hydra import Hydra

    from adnet.train import main

    # As in conftest.py: Hydra composes all once more, to see that nothing sets hydra.mode.
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    workers = 2 if folder.name.startswith("random") else 1  # which leaves the pairs the same
    sys.argv = ["adnet.train", *ARGUMENTS, f"pairs.workers={workers}", f"data.root={root}", f"hydra.run.dir={folder}"]
    main()


def die_while_writing(death: str) -> None:
    """Be killed in the second write of `last.ckpt`: with half of it written, or with the last one renamed and no new one."""
    written = 0
    save, replace = torch.save, os.replace

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def torn(content: Any, file: Any) -> None:
        nonlocal written
        written += file.name.endswith("last.ckpt.draft")
        if written == 2 and death == "half of it":
            whole = io.BytesIO()
            save(content, whole)
            file.write(whole.getvalue()[: whole.tell() // 2])
            file.flush()
            kill()
        save(content, file)

    def between(source: Any, target: Any) -> None:
        if written == 2 and str(source).endswith("last.ckpt.draft"):
            kill()
        replace(source, target)

    torch.save, os.replace = torn, between  # type: ignore[assignment]
