"""Decide whether and from where a run folder can be resumed."""

import sys
from collections.abc import Iterable
from dataclasses import fields
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from adnet.data.videos import images_or_sequences
from adnet.errors import UserError
from adnet.shared.check_config import flattened
from adnet.shared.file_formats import read_document
from adnet.shared.run_folder import finished_summary, read_config
from adnet.training.checkpoints import BEST, LAST, PREVIOUS
from adnet.training.loss import Loss
from adnet.weights.read import is_whole

COMPARED: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("resume.yaml").read_text(encoding="utf-8"))

OLD_DEFAULTS: dict[str, Any] = {
    "loss._target_": "adnet.training.loss.Loss",
    **{f"loss.{argument.name}": argument.default for argument in fields(Loss)},
}
"""Values of keys that the configs of older versions lack, so that their runs can be resumed."""


def finished_run(folder: Path, cfg: DictConfig) -> dict[str, Any] | None:
    """Return the `summary.json` of the finished training in `folder`, or None. Raises UserError for another config."""
    if (summary := finished_summary(folder)) is not None:
        _check_config(folder, cfg, "a finished run", COMPARED["ignored"])
    return summary


def checkpoint_to_resume(folder: Path, cfg: DictConfig) -> Path | None:
    """Return the checkpoint from which to resume the unfinished training with `cfg` in `folder`; None to start anew.

    Raises UserError for another config, if all checkpoints are damaged, or if there is one and `cfg.resume` is false.
    """
    checkpoint = whole_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        return None
    if not cfg.resume:
        raise UserError(f"{folder} holds an interrupted run; resume=true continues it")
    _check_config(folder, cfg, "a run", [*COMPARED["ignored"], *COMPARED["changeable"]])
    if checkpoint.name == PREVIOUS:
        last = checkpoint.with_name(LAST)
        print(f"{last} is damaged or missing: resuming from {PREVIOUS}, the one before", file=sys.stderr)
        last.unlink(missing_ok=True)  # otherwise it would replace the intact one when the next is saved
    return checkpoint


def whole_checkpoint(folder: Path) -> Path | None:
    """Find the newest intact checkpoint in `folder`, or None. Raises UserError if all of them are damaged."""
    found = [path for name in (LAST, PREVIOUS) if (path := folder / name).is_file()]
    for path in found:
        if is_whole(path):
            return path
    if found:
        said = f"all checkpoints in {folder} to resume from are damaged: remove the folder to train from the start"
        if is_whole(best := folder / BEST):
            said += f", or in another hydra.run.dir from the weights of an earlier step: model.weights={best}"
        raise UserError(said)
    return None


def check_provenance(folder: Path, provenance: dict[str, Any], allow_changed_data: bool) -> None:
    """Compare `provenance` with what the run in `folder` began with, if that is recorded.

    Raises UserError for other data (fingerprints by split), unless `allow_changed_data`. Prints a line for another number of
    threads, as it may be under another launcher.
    """
    file, data, threads = folder / "provenance.json", provenance["data"], provenance["threads"]
    if not file.is_file():
        return
    earlier = read_document(file, "provenance", advice="restore it, or remove it to go on without comparing the data")
    began = earlier.get("data", {})
    changed = [split for split in data if data[split] != began.get(split)]
    if changed and not allow_changed_data:
        raise UserError(
            f"the {' and '.join(changed)} data is not what the run in {folder} began with ({_difference(began, data, changed[0])}):"
            " restore it, or allow_changed_data=true continues anyway"
        )
    if (before := earlier.get("threads", threads)) != threads:
        print(
            f"the run had {before} threads before and has {threads} now, so its weights will differ in their last digits from "
            f"those of an uninterrupted one (OMP_NUM_THREADS={before} keeps them the same)",
            file=sys.stderr,
        )


def _difference(earlier: dict[str, Any], data: dict[str, Any], split: str) -> str:
    before, now = earlier.get(split), data[split]
    if not before or "sequences" not in before:
        return "which is not recorded there"
    if different := sorted({*before["sequences"]} ^ {*now["sequences"]}):
        kind = images_or_sequences(len(now["sequences"]), now["frames"])
        return f"{kind} {', '.join(different[:5])}" + f" and {len(different) - 5} more" * (len(different) > 5)
    if before.get("frames") != now["frames"]:
        return f"{before.get('frames')} frames then, {now['frames']} now"
    return "the content of a file"


@rank_zero_only
def _check_config(folder: Path, cfg: DictConfig, kind: str, free: Iterable[str]) -> None:
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds {kind} but no config.yaml; give another hydra.run.dir")
    earlier, now = map(flattened, (read_config(folder), OmegaConf.to_container(cfg)))
    keys = [
        key for key in dict.fromkeys([*now, *earlier]) if _below(key, COMPARED["not_ignored"]) or not _below(key, free)
    ]
    defaults = COMPARED["not_ignored"] | OLD_DEFAULTS
    values = {key: [config.get(key, defaults.get(key)) for config in (earlier, now)] for key in keys}
    # A key that one of the two versions lacks is off in the other if it is null, false, 0 or empty.
    different = [
        f"{key} was {_shown(before)} and is {_shown(after)}"
        for key, (before, after) in values.items()
        if before != after and (before or after)
    ]
    if different:
        raise UserError(
            f"{folder} holds {kind} of another config: {', '.join(different)}; give another hydra.run.dir, or these values"
        )


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _below(key: str, parents: Iterable[str]) -> bool:
    return any(fnmatchcase(key, parent) or key.startswith(f"{parent}.") for parent in parents)
