"""What a reader needs to judge the numbers of a report, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from adnet.report.pooling import Benchmark, differing_settings
from adnet.report.runs import Run
from adnet.report.tables import duration


def benchmark_title(benchmark: Benchmark) -> str:
    """`davis2016 val, protocol paper`."""
    return f"{benchmark.dataset} {benchmark.split}, protocol {benchmark.protocol}"


def lead(runs: Sequence[Run], found: Sequence[Benchmark]) -> str:
    """The report's first sentence: how many runs of how many variants, scored on what."""
    trained = [run for run in runs if run.trained]
    others = len({run.variant for run in runs if not run.trained})
    parts = []
    if trained:
        parts.append(f"{_count(len(trained), 'run')} of {_count(len({run.variant for run in trained}), 'variant')}")
    if others:
        parts.append(_count(others, "other method" if trained else "method"))
    text = " and ".join(parts)
    return f"{text}, scored on {'; '.join(map(benchmark_title, found))}." if found else f"{text}."


def facts(runs: Sequence[Run], found: Sequence[Benchmark]) -> list[tuple[str, str]]:
    """Terms and texts; a fact in which runs differ is listed with all its values."""
    seconds = [run.summary["seconds"] for run in runs if run.summary.get("seconds") is not None]
    versions: dict[str, list[Any]] = {}
    for run in runs:
        for package, version in (run.summary.get("versions") or {}).items():
            versions.setdefault(package, []).append(version)
    told = [
        ("Trained on", _distinct(run.summary.get("dataset") for run in runs)),
        ("Scored on", "; ".join(f"{benchmark_title(b)} ({_count(len(b.sequences), 'sequence')})" for b in found)),
        ("Checkpoint", _distinct(sorted({e.weights for run in runs if run.trained for e in run.evaluations}))),
        ("Steps", _distinct(run.summary.get("steps") for run in runs)),
        ("Training time", f"{duration(sum(seconds))} in all" if seconds else ""),
        ("Encoder", _distinct(run.config.get("model.encoder.backbone") for run in runs)),
        ("Parameters", _distinct(run.summary.get("parameters") for run in runs)),
        ("Commit", _distinct(run.summary.get("git_commit") for run in runs)),
        ("Versions", ", ".join(f"{package} {_distinct(values, ' / ')}" for package, values in versions.items())),
    ]
    for variant, keys in differing_settings(runs).items():
        told.append((f"Runs of {variant} differ in", ", ".join(keys)))
    return [(term, text) for term, text in told if text]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _distinct(values: Iterable[Any], separator: str = ", ") -> str:
    texts = (f"{value:,}" if isinstance(value, int) else str(value) for value in values if value is not None)
    return separator.join(dict.fromkeys(texts))
