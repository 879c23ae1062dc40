"""Name folders after overrides, so that the same command finds the same folder again."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from adnet.shared.check_config import walk

_ELSEWHERE = re.compile(
    r"[+~]*(hydra\b|launcher=|trainer[.=]|logger[.=]|callbacks[.=]|pairs\.(workers|pin_memory)=|resume=)"
)
"""Overrides that determine where and how a job runs, not what it computes."""


def changes_results(override: str) -> bool:
    """Return whether an override changes results, unlike launchers, devices and loggers."""
    return not _ELSEWHERE.match(override)


def sweep_name(overrides: Sequence[str], config: dict[str, Any]) -> str:
    """Name a sweep, or a run, after its whole command line: `experiment-ablation_*+seed-0-1`.

    A key is cut to its last part unless another key of `config`, which the command composes to, ends in the same, or it is added
    (`+a.b=1`). The name needs no quotes in an override. A long one is cut off and ends in a hash of the overrides.
    """
    named = [override for override in overrides if changes_results(override) or "," in override]
    ends = Counter(_last_part(key) for key, _ in walk(config))
    labels = []
    for key, _, value in (override.partition("=") for override in named):
        plain, end = key.lstrip("+~"), _last_part(key)
        labels.append(_label(plain if key.startswith("+") or ends[end] > 1 else end, value))
    name = "+".join(labels) or "one"
    return name if len(name) <= 80 else f"{name[:72]}-{_digest(named)}"


def job_names(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Name each job of a sweep after the overrides in which the jobs differ: `experiment-ablation_full+seed-0`."""
    varying = [index for index, values in enumerate(zip(*jobs, strict=True)) if len(set(values)) > 1]
    split = [[job[index].partition("=")[::2] for index in varying] for job in jobs]
    names = ["+".join(_label(_last_part(key), value) for key, value in job) or "one" for job in split]
    if len(set(names)) == len(names):
        return names
    # Some values differ only in characters that are replaced.
    return [f"{name}-{_digest(job)}" for name, job in zip(names, jobs, strict=True)]


def _digest(overrides: Sequence[str]) -> str:
    return hashlib.sha256(",".join(overrides).encode()).hexdigest()[:7]


def _last_part(key: str) -> str:
    return key.lstrip("+~").rpartition(".")[2]


def _label(key: str, value: str) -> str:
    clean = re.sub(r"[^\w.*]+", "-", value, flags=re.ASCII).strip("-.")
    return f"{key}-{clean[-40:]}".rstrip("-.")  # the end of a long path says more than its beginning
