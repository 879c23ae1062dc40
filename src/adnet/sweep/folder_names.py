"""Name folders after overrides, so that the same command finds the same folder again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_ELSEWHERE = re.compile(
    r"[+~]*(hydra\b|launcher=|trainer[.=]|logger[.=]|callbacks[.=]|pairs\.(workers|pin_memory)=|resume=)"
)
"""Overrides that determine where and how a job runs, not what it computes."""


def changes_results(override: str) -> bool:
    """Return whether an override changes results, unlike launchers, devices and loggers."""
    return not _ELSEWHERE.match(override)


def sweep_name(overrides: Sequence[str]) -> str:
    """Name a sweep after its whole command line: `experiment-ablation_*+seed-0-1`.

    Uses only characters that need no quotes in an override. A long name is cut off and ends in a hash of the overrides.
    """
    named = [override for override in overrides if changes_results(override) or "," in override]
    name = "+".join(_label(*override.partition("=")[::2]) for override in named) or "one"
    return name if len(name) <= 80 else f"{name[:72]}-{hashlib.sha256(','.join(named).encode()).hexdigest()[:7]}"


def job_names(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Name each job of a sweep after the overrides in which the jobs differ: `experiment-ablation_full+seed-0`."""
    varying = [index for index, values in enumerate(zip(*jobs, strict=True)) if len(set(values)) > 1]
    names = ["+".join(_label(*job[index].partition("=")[::2]) for index in varying) or "one" for job in jobs]
    if len(set(names)) == len(names):
        return names
    # Some values differ only in characters that are replaced.
    return [
        f"{name}-{hashlib.sha256(','.join(job).encode()).hexdigest()[:7]}"
        for name, job in zip(names, jobs, strict=True)
    ]


def _label(key: str, value: str) -> str:
    leaf, clean = key.lstrip("+~").rpartition(".")[2], re.sub(r"[^\w.*]+", "-", value, flags=re.ASCII).strip("-.")
    return f"{leaf}-{clean[-40:]}".rstrip("-.")  # the end of a long path says more than its beginning
