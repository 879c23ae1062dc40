"""Summarise the results of a sweep's jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STATUSES = {
    "finished": "finished",
    "pruned": "pruned",
    "skipped": "skipped (finished before)",
    "busy": "busy (another process works there)",
    "stopped": "stopped",
    "failed": "failed",
}


@dataclass(frozen=True)
class Row:
    """A job: its folder, `status` (one of STATUSES), J and F in [0, 1], seconds and, for a failure, its reason and log."""

    folder: Path
    status: str
    scores: dict[str, float | None]
    seconds: float | None = None
    reason: str | None = None
    log: str | None = None


def table(rows: Sequence[Row]) -> str:
    """Format the rows as text, failures last, below a line with the counts."""
    counts = Counter(row.status for row in rows)
    head = ", ".join(f"{counts[status]} {text}" for status, text in STATUSES.items() if counts[status])
    order = {status: n for n, status in enumerate(STATUSES)}
    width = max((len(row.folder.name) for row in rows), default=0)
    return "\n".join([head, *(_line(row, width) for row in sorted(rows, key=lambda row: order[row.status]))])


def _line(row: Row, width: int) -> str:
    scores = "  ".join(f"{name} {100 * value:5.1f}" for name, value in row.scores.items() if value is not None)
    seconds = f"{row.seconds:7.0f} s" if row.seconds is not None else ""
    line = f"  {row.status:<9} {row.folder.name:<{width}}  {scores}  {seconds}".rstrip()
    if row.status in ("failed", "stopped", "busy"):
        line += f"\n            {row.reason or 'interrupted'}" + (f"\n            {row.log}" if row.log else "")
    return line
