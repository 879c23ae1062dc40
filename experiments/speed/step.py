"""Compare the CPU seconds of a training step with those of another checkout, in turns.

python experiments/speed/step.py CHECKOUT [ROUNDS] [OVERRIDES of adnet.train]

CHECKOUT is a clone of this repository at the commit to compare with; the same Python runs both, on one thread. Each round (3) trains
`+experiment=released scale=lite` for 4 and for 12 steps: the difference is eight steps with their data, without the start. CPU seconds,
of all processes together, depend little on what else the machine does. OVERRIDES are for this checkout alone: the other one trains in
float32, its default. Prints medians and the median ratio of the rounds.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parents[2]
FEW, MANY = 4, 12


def cpu_seconds(checkout: Path, steps: int, overrides: list[str], cache: str) -> float:
    """Train `steps` steps in a process of its own, without validation."""
    with TemporaryDirectory() as folder:
        given = ["+experiment=released", "scale=lite", f"steps={steps}", f"epoch_steps={steps}", "test_at_end=false"]
        given += ["+trainer.limit_val_batches=0", "pairs.workers=1", f"hydra.run.dir={folder}", *overrides]
        environment = {"PYTHONPATH": str(checkout / "src"), "ADNET_CACHE": cache, "OMP_NUM_THREADS": "1"}
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "adnet.train", *given], env=os.environ | environment, check=True)
        after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(checkout: str, rounds: str = "3", *overrides: str) -> None:
    """Print a line of a table."""
    checkouts, measured = {HERE: [*overrides], Path(checkout).resolve(): []}, list[list[float]]()
    with TemporaryDirectory() as cache:
        for path, given in checkouts.items():
            cpu_seconds(path, 1, given, f"{cache}/{path.name}")  # fills the caches of data and flow
        for _ in range(int(rounds)):
            times = [
                [cpu_seconds(path, steps, given, f"{cache}/{path.name}") for steps in (FEW, MANY)]
                for path, given in checkouts.items()
            ]
            measured.append([(many - few) / (MANY - FEW) for few, many in times])
    now, before = map(median, zip(*measured, strict=True))
    print(
        f"| {' '.join(overrides) or 'float32'} | {now:.2f} s | {before:.2f} s | {median(b / a for a, b in measured):.2f} |"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
