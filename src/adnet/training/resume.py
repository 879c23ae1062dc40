"""Whether a run folder may be gone on with, and from where."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from adnet.errors import UserError
from adnet.training.checkpoint_io import LAST, PREVIOUS, whole_checkpoint

FREE = (
    "resume",
    "allow_changed_data",
    "run_dir",
    "steps",
    "checkpoint_steps",
    "test_at_start",
    "test_at_end",
    "embeddings",
    "protocol",
    "logger",
    "callbacks",
    "data.root",  # the data itself is compared
    "flow.cache",
    "pairs.workers",
    "trainer",
)
"""Keys (with all below them) that don't change the weights of a step, or that a run may be gone on with to change."""

BOUND = (
    "trainer.precision",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "callbacks.weight_averaging",
)
"""Those among them that do change the weights."""

BEFORE: dict[str, Any] = {
    "mix": {},
    "loss._target_": "adnet.training.loss.Loss",
    "loss.soft_iou": 0.0,
    "loss.boundary": 0.0,
    "loss.boundary_width": 5,
}
"""What these were before there was a choice: a run of an older version, whose config lacks them, is gone on with."""


def checkpoint_to_resume(folder: Path, cfg: DictConfig) -> Path | None:
    """The checkpoint that training with `cfg` in `folder` goes on from; None to begin.

    Raises UserError if the run there has ended, was of another config (the keys are named), has no whole checkpoint, or
    was cut off and `cfg.resume` is false.
    """
    if (folder / "summary.json").is_file():
        raise UserError(f"{folder} holds a finished run; give another hydra.run.dir")
    checkpoint = whole_checkpoint(folder / "checkpoints")
    if checkpoint is None:
        return None
    if not cfg.resume:
        raise UserError(f"{folder} holds a run that was cut off; resume=true goes on with it")
    _check_config(folder, cfg)
    if checkpoint.name == PREVIOUS:
        _drop_last(folder / "checkpoints")
    return checkpoint


def check_data(folder: Path, data: dict[str, Any], allow_changed: bool) -> None:
    """Raise UserError if the run in `folder` began with other data (fingerprints by split) and `allow_changed` is false."""
    file = folder / "provenance.json"
    if allow_changed or not file.is_file():
        return
    earlier = json.loads(file.read_text())["data"]
    if changed := [split for split in data if data[split] != earlier.get(split)]:
        raise UserError(
            f"the {' and '.join(changed)} data is not what the run in {folder} began with ({_difference(earlier, data, changed[0])}):"
            " put it back, or allow_changed_data=true goes on all the same"
        )


def _difference(earlier: dict[str, Any], data: dict[str, Any], split: str) -> str:
    before, now = earlier.get(split, {}), data[split]
    if lost := sorted({*before.get("sequences", ())} ^ {*now["sequences"]}):
        return f"sequences {', '.join(lost)}"
    if before.get("frames") != now["frames"]:
        return f"{before.get('frames')} frames then, {now['frames']} now"
    return "the content of a file"


@rank_zero_only
def _drop_last(checkpoints: Path) -> None:
    print(f"{checkpoints / LAST} is cut off or gone: going on from {PREVIOUS}, the one before", file=sys.stderr)
    # Else it would take the place of the whole one when the next is saved.
    (checkpoints / LAST).unlink(missing_ok=True)


def _check_config(folder: Path, cfg: DictConfig) -> None:
    file = folder / "config.yaml"
    if not file.is_file():
        raise UserError(f"{folder} has checkpoints and no config.yaml; give another hydra.run.dir")
    earlier, now = (dict(_leaves(OmegaConf.to_container(config), "")) for config in (OmegaConf.load(file), cfg))
    earlier = {key: value for key, value in BEFORE.items() if key in now} | earlier
    different = [
        f"{key} was {earlier.get(key, 'not set')} and is {now.get(key, 'not set')}"
        for key in dict.fromkeys([*now, *earlier])
        if earlier.get(key) != now.get(key) and (_below(key, BOUND) or not _below(key, FREE))
    ]
    if different:
        raise UserError(
            f"{folder} holds a run of another config: {', '.join(different)}; give another hydra.run.dir, or these values"
        )


def _below(key: str, parents: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{path}.{key}" if path else str(key))
    else:
        yield path, node
