"""Make the table of docs/memory.md: `python docs/memory_table.py`, which counts on the meta device and needs no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import hydra
from hydra.utils import instantiate

from adnet.shared.command import conf_dir
from adnet.training.loss import Loss
from adnet.training.memory import GIB, StepSettings, TrainingMemory

PAGE = Path(__file__).with_name("memory.md")
PAIRS = (1, 2, 4, 8)
ROWS = {
    "32": ("32-true", False),
    "32, checkpointing": ("32-true", True),
    "bf16": ("bf16-mixed", False),
    "bf16, checkpointing": ("bf16-mixed", True),
    "bf16-true": ("bf16-true", False),
    "bf16-true, checkpointing": ("bf16-true", True),
}


def paper_scale() -> TrainingMemory:
    """Return the memory count for `+experiment=ablation_full`."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose("train", ["+experiment=ablation_full", "model.encoder.pretrained=false"])
    crop = tuple(cfg.pairs.augmentation.crop_size)
    return TrainingMemory(instantiate(cfg.model), Loss(), instantiate(cfg.optim.optimizer), crop)


def gib(memory: TrainingMemory, row: str, pairs: int) -> str:
    """Format the total for a cell."""
    return f"{memory.of(StepSettings(*ROWS[row], pairs)).total / GIB:.1f}"


def main() -> None:
    """Replace the table on the page."""
    memory = paper_scale()
    lines = [
        f"| `trainer.precision` | {' | '.join(f'{pairs} pair' + 's' * (pairs > 1) for pairs in PAIRS)} |",
        "| --- |" + " --: |" * len(PAIRS),
        *(f"| {row} | {' | '.join(gib(memory, row, pairs) for pairs in PAIRS)} |" for row in ROWS),
    ]
    table = "\n".join(lines) + "\n"
    PAGE.write_text(
        re.sub(r"^\| `trainer.precision`.*?\n(?!\|)", lambda _: f"{table}", PAGE.read_text(), flags=re.M | re.S)
    )


if __name__ == "__main__":
    main()
