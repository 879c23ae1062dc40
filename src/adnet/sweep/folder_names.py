"""Folder names that say what a sweep or a job is, and are the same the next time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

_ELSEWHERE = re.compile(
    r"[+~]*(hydra\b|launcher=|trainer[.=]|logger[.=]|callbacks[.=]|pairs\.(workers|pin_memory)=|resume=)"
)
"""Overrides that say where and how a job runs, not what it finds."""


def says_what(override: str) -> bool:
    """Whether an override is of what is computed; the launcher, the devices and the loggers are not."""
    return not _ELSEWHERE.match(override)


def sweep_name(overrides: Sequence[str]) -> str:
    """Of a sweep's whole command line, so that the same command finds the same folder: `experiment-ablation_*+seed-0-1`.

    Only characters that need no quotes in an override; long names end in a hash.
    """
    # Commas make `a=1,2`, a sweep, and `a=1-2`, none, look the same; so does anything else that is replaced.
    told = [override for override in overrides if says_what(override) or "," in override]
    name = "+".join(_label(*override.partition("=")[::2]) for override in told) or "one"
    return name if len(name) <= 80 else f"{name[:72]}-{hashlib.sha256(','.join(told).encode()).hexdigest()[:7]}"


def job_names(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Of each job among those of its sweep, by the overrides in which they differ: `experiment-ablation_full+seed-0`."""
    varying = [place for place, values in enumerate(zip(*jobs, strict=True)) if len(set(values)) > 1]
    names = ["+".join(_label(*job[place].partition("=")[::2]) for place in varying) or "one" for job in jobs]
    if len(set(names)) == len(names):
        return names
    # Values that differ only in characters that a folder's name can't have.
    return [
        f"{name}-{hashlib.sha256(','.join(job).encode()).hexdigest()[:7]}"
        for name, job in zip(names, jobs, strict=True)
    ]


def _label(key: str, value: str) -> str:
    leaf, clean = key.lstrip("+~").rpartition(".")[2], re.sub(r"[^\w.*]+", "-", value, flags=re.ASCII).strip("-.")
    return f"{leaf}-{clean[-40:]}".rstrip("-.")  # of a long path, the end tells more
