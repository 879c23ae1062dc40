"""How many CPUs there are for this process."""

from __future__ import annotations

import os


def available_cpus() -> int:
    """Count the CPUs that this process may run on: of a Slurm job or a container often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
