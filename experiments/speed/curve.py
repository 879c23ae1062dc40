"""Compare the losses of two trainings of one seed, and how much they differ from seed to seed.

python experiments/speed/curve.py A/metrics.csv B/metrics.csv [SEEDS.csv]

For the steps that both A and B have: the mean of the losses that were logged, their difference with its standard error, and J and F of each
validation. SEEDS.csv has the columns `seed`, `step` and `train/loss` of shorter trainings like B with other seeds: how much their mean
losses over the second half differ is what chance does.
"""

import csv
import sys
from pathlib import Path

import numpy as np


def column(path: str, name: str, seed: str | None = None) -> dict[int, float]:
    """Read the values of a column of a run's `metrics.csv` by step, or of those of one seed."""
    with Path(path).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(name) and row.get("seed") == seed]
    return {int(row["step"]) + 1: float(row[name]) for row in rows}


def main(first: str, second: str, others: str | None = None) -> None:
    """Print the comparison."""
    a, b = (column(path, "train/loss") for path in (first, second))
    steps = sorted(a.keys() & b.keys())
    ours, theirs = np.array([a[step] for step in steps]), np.array([b[step] for step in steps])
    error = np.std(theirs - ours, ddof=1) / len(steps) ** 0.5
    print(f"{len(steps)} losses until step {steps[-1]}: {ours.mean():.3f} and {theirs.mean():.3f}")
    print(f"difference {np.mean(theirs - ours):+.3f}, standard error {error:.3f}")
    for path in (first, second):
        J, F = (column(path, f"val/{measure}") for measure in "JF")
        print(path, ", ".join(f"{step}: {100 * J[step]:.1f} / {100 * F[step]:.1f}" for step in J))
    if others:
        seeds = [column(others, "train/loss", str(seed)) for seed in range(1, 11)]
        end = min(max(run) for run in seeds)
        means = [np.mean([loss for step, loss in run.items() if end / 2 < step <= end]) for run in (a, b, *seeds)]
        print(f"steps {end // 2} to {end}: {means[0]:.3f} and {means[1]:.3f}; of {len(seeds)} other seeds")
        print(f"{np.mean(means[2:]):.3f}, standard deviation {np.std(means[2:], ddof=1):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
