"""The tables of the report: scores per variant, differences between variants, and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from adnet.report.analysis.pooling import Comparison, label_runs, variant_order
from adnet.report.analysis.statistics import bootstrap_interval, holm, paired_difference
from adnet.report.read.evaluations import MEASURES
from adnet.report.read.runs import Run, paper_tables
from adnet.report.tables.table import MINUS, Column, Table, Value

ALL_PAIRS = 6

DELTA = "\N{GREEK CAPITAL LETTER DELTA}"


def score_table(comparison: Comparison, name: str = "table1") -> Table:
    """Make the paper's Table 1, one row per variant, with a 95 % interval over sequences for J and F.

    If any variant has several runs, the standard deviation of the runs' means (the effect of the seed alone) is a column,
    too. On DAVIS-2016, the paper's own numbers are added.
    """
    columns = [Column("Variant"), Column("Runs", digits=0)]
    baseline = comparison.baseline
    replicated = any(len(result.runs) > 1 for result in comparison.results)
    for measure in MEASURES:
        columns += [
            Column("mean", measure, digits=2, best="max"),
            Column("95 % interval", measure, digits=1),
            *([Column("SD of runs", measure, digits=2)] if replicated else []),
            Column("recall", measure, digits=1, best="max"),
            Column("decay", measure, digits=1, best="min"),
        ]
        if baseline is not None:
            columns.append(Column(DELTA, measure, digits=2, signed=True))
    paper = paper_rows(comparison)
    if paper:
        columns += [Column(measure, "published", digits=2) for measure in MEASURES]
        if baseline is not None:
            columns += [Column(f"{DELTA}{measure}", "published", digits=2, signed=True) for measure in MEASURES]

    rows = []
    for result in comparison.results:
        row: list[Value] = [result.label, len(result.runs)]
        for measure in MEASURES:
            mean = result.mean(measure)
            row += [
                100 * mean,
                bootstrap_interval(result.scores[measure]["mean"]).scaled(100),
                *([100 * result.spread(measure)] if replicated else []),
                100 * result.mean(measure, "recall"),
                100 * result.mean(measure, "decay"),
            ]
            if baseline is not None:
                row.append(100 * (mean - baseline.mean(measure)))
        if paper:
            published = paper.get(result.variant, {})
            row += [published.get(measure) for measure in MEASURES]
            if baseline is not None:
                row += [published[m] - paper["baseline"][m] if published else None for m in MEASURES]
        rows.append(tuple(row))
    return Table(name, _score_caption(comparison, bool(paper), replicated), tuple(columns), tuple(rows))


def difference_table(comparison: Comparison, name: str = "differences") -> Table:
    """Compare pairs of rows: difference, interval, p-value, and p-value adjusted for the number of pairs (Holm).

    Up to ALL_PAIRS rows, all pairs are compared; beyond, each row with the baseline, or with the best row if there is none.
    """
    results = comparison.results
    if len(results) <= ALL_PAIRS:
        pairs = [(b, a) for a, b in combinations(results, 2)]
    else:
        reference = comparison.baseline or max(results, key=lambda result: result.mean("J"))
        pairs = [(result, reference) for result in results if result is not reference]
    columns = [Column("Comparison")]
    rows: list[list[Value]] = [[f"{a.label} {MINUS} {b.label}"] for a, b in pairs]
    for measure in MEASURES:
        columns += [
            Column(DELTA, measure, digits=2, signed=True),
            Column("95 % interval", measure, digits=1, signed=True),
            Column("p", measure, digits=3, probability=True),
            Column("p (Holm)", measure, digits=3, probability=True),
        ]
        differences = [paired_difference(a.scores[measure]["mean"], b.scores[measure]["mean"]) for a, b in pairs]
        adjusted = holm([difference.p_value for difference in differences])
        for row, difference, corrected in zip(rows, differences, adjusted, strict=True):
            interval = difference.interval.scaled(100)
            row += [interval.estimate, interval, difference.p_value, corrected]
    caption = (
        f"Paired differences over the {len(comparison.sequences)} sequences of {comparison.dataset} {comparison.split} "
        f"(protocol {comparison.protocol}), in percentage points. Interval: 95 % bootstrap (BCa) over sequences. p: "
        "two-sided sign-flip permutation test; p (Holm): adjusted for the number of comparisons. Both account for the "
        "choice of sequences, not for the seed of the training."
    )
    return Table(name, caption, tuple(columns), tuple(tuple(row) for row in rows))


def run_table(runs: Sequence[Run], name: str = "runs") -> Table:
    """Make one row per training: its seed, its length, and the scores that it recorded before and after training."""
    labels = label_runs(runs)
    columns = (
        Column("Variant"),
        Column("Seed", digits=0),
        Column("Steps", digits=0),
        Column("Time"),
        *(Column(when, measure, digits=1) for measure in MEASURES for when in ("before", "after")),
        Column("Commit"),
        Column("Folder"),
    )
    trained = [run for run in runs if run.trained]
    ordered = sorted(trained, key=lambda run: (variant_order(run.variant), labels[run], run.seed or 0))
    rows = tuple(
        (
            labels[run],
            run.seed,
            run.summary.get("steps"),
            duration(run.summary.get("seconds")),
            *(_percent(value) for m in MEASURES for value in ((run.initial or {}).get(m), getattr(run, m))),
            str(run.summary.get("git_commit") or "")[:12],
            run.folder.as_posix(),
        )
        for run in ordered
    )
    return Table(name, "Runs, with J and F on the validation set before and after training.", columns, rows)


def paper_rows(comparison: Comparison) -> Mapping[str, Mapping[str, float]]:
    """Return the rows of the paper's Table 1 by variant, in percent; empty unless the comparison is on DAVIS-2016."""
    paper = paper_tables()["table1"]
    return {row["variant"]: row for row in paper["rows"]} if comparison.dataset == paper["dataset"] else {}


def duration(seconds: float | None) -> str:
    """Format seconds as `48 s`, `12 min` or `3 h 05 min`; None as an empty text."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _score_caption(comparison: Comparison, compared: bool, replicated: bool) -> str:
    paper = paper_tables()["table1"]
    caption = (
        f"Scores in percent on {comparison.dataset} {comparison.split} ({len(comparison.sequences)} sequences, protocol "
        f"{comparison.protocol}): each sequence's mean over a variant's runs, averaged over sequences. "
        "Interval: 95 % bootstrap (BCa) over sequences."
    )
    if replicated:
        caption += " SD of runs: standard deviation over a variant's runs, which differ in their seed."
    if comparison.baseline is not None:
        caption += f" {DELTA}: difference to the baseline, in percentage points."
    if compared:
        caption += f" Published: the paper's {paper['source']}, measured on {paper['measured_on']}."
    return caption


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
