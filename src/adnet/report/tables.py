"""The tables of the report: scores, differences, saliency and runs, and the paper's Tables 2 and 3 with our rows below."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from adnet.report.analysis.pooling import Comparison, Result, label_runs, variant_order
from adnet.report.analysis.statistics import bootstrap_interval, holm, paired_difference
from adnet.report.captions import caption
from adnet.report.read import MEASURES, Run, paper_tables
from adnet.report.table import MINUS, Column, Row, Table

ALL_PAIRS = 6

DELTA = "\N{GREEK CAPITAL LETTER DELTA}"

PUBLISHED, MEASURED = "published", "measured"

CONVENTIONS = ("pooled", "per_frame")


def score_table(comparison: Comparison, name: str = "table1") -> Table:
    """Make the paper's Table 1, one row per variant, with intervals over sequences and, on DAVIS-2016, the paper's numbers.

    If any variant has several runs, the standard deviation of the runs' means (the effect of the seed alone) is a column, too.
    """
    baseline, paper = comparison.baseline, paper_rows(comparison)
    replicated = any(len(result.runs) > 1 for result in comparison.results)
    rows = []
    for result in comparison.results:
        row: Row = {Column("Variant"): result.label, Column("Runs", digits=0): len(result.runs)}
        for measure in MEASURES:
            mean, interval = result.mean(measure), bootstrap_interval(result.scores[measure]["mean"])
            row[Column("mean", measure, digits=2, best="max")] = 100 * mean
            row[Column("95 % interval", measure, digits=1)] = interval.scaled(100)
            if replicated:
                row[Column("SD of runs", measure, digits=2)] = 100 * result.spread(measure)
            row[Column("recall", measure, digits=1, best="max")] = 100 * result.mean(measure, "recall")
            row[Column("decay", measure, digits=1, best="min")] = 100 * result.mean(measure, "decay")
            if baseline is not None:
                row[Column(DELTA, measure, digits=2, signed=True)] = 100 * (mean - baseline.mean(measure))
        if paper:
            published = paper.get(result.variant, {})
            row |= {Column(m, PUBLISHED, digits=2): published.get(m) for m in MEASURES}
            if baseline is not None:
                changes = [published[m] - paper["baseline"][m] if published else None for m in MEASURES]
                titles = [Column(f"{DELTA}{m}", PUBLISHED, digits=2, signed=True) for m in MEASURES]
                row |= dict(zip(titles, changes, strict=True))
        rows.append(row)
    table1 = paper_tables()["table1"] if paper else None
    return Table.of(name, caption("score_table", comparison, replicated, table1), rows)


def difference_table(comparison: Comparison, name: str = "differences") -> Table | None:
    """Compare pairs of rows: difference, interval, p-value, and p-value adjusted for the number of pairs (Holm). None for one row.

    Up to ALL_PAIRS rows, all pairs are compared; beyond, each row with the baseline, or with the best row if there is none.
    """
    results = comparison.results
    if len(results) <= ALL_PAIRS:
        pairs = [(b, a) for a, b in combinations(results, 2)]
    else:
        reference = comparison.baseline or max(results, key=lambda result: result.mean("J"))
        pairs = [(result, reference) for result in results if result is not reference]
    rows: list[Row] = [{Column("Comparison"): f"{a.label} {MINUS} {b.label}"} for a, b in pairs]
    for measure in MEASURES:
        differences = [paired_difference(a.scores[measure]["mean"], b.scores[measure]["mean"]) for a, b in pairs]
        adjusted = holm([difference.p_value for difference in differences])
        for row, difference, corrected in zip(rows, differences, adjusted, strict=True):
            interval = difference.interval.scaled(100)
            row[Column(DELTA, measure, digits=2, signed=True)] = interval.estimate
            row[Column("95 % interval", measure, digits=1, signed=True)] = interval
            row[Column("p", measure, digits=3, probability=True)] = difference.p_value
            row[Column("p (Holm)", measure, digits=3, probability=True)] = corrected
    return Table.of(name, caption("difference_table", comparison), rows) if rows else None


def run_table(runs: Sequence[Run], name: str = "runs") -> Table | None:
    """Make one row per training: its seed, its length, and its scores before and after. None if there is no training."""
    labels = label_runs(runs)
    rows = []
    for run in sorted_runs([run for run in runs if run.trained], labels):
        row: Row = {
            Column("Variant"): labels[run],
            Column("Seed", digits=0): run.seed,
            Column("Steps", digits=0): run.summary.get("steps"),
            Column("Time"): duration(run.summary.get("seconds")),
        }
        for measure in MEASURES:
            row[Column("before", measure, digits=1)] = _percent((run.initial or {}).get(measure))
            row[Column("after", measure, digits=1)] = _percent(getattr(run, measure))
        row[Column("Commit")] = str(run.summary.get("git_commit") or "")[:12]
        row[Column("Folder")] = run.folder.as_posix()
        rows.append(row)
    return Table.of(name, caption("run_table"), rows) if rows else None


def comparison_table(comparison: Comparison, found: Sequence[Comparison] = (), name: str = "table2") -> Table | None:
    """Make the paper's Table 2 with our rows below. None if `comparison` is not the one of that table.

    F-measures on FBMS come from the rows in `found` with the same label and protocol.
    """
    paper = paper_tables()["table2"]
    key = (comparison.dataset, comparison.split, len(comparison.sequences))
    if key != (paper["dataset"], paper["split"], paper["sequences"]):
        return None

    def row(method: Mapping[str, Any], source: str) -> Row:
        marks = {"first_frame": "first frame", "flow": "flow", "crf": "CRF"}
        return {
            **_identified(method["method"], method["group"], source),
            **{Column(title): "yes" if method.get(mark) else "" for mark, title in marks.items()},
            **{Column(measure, "DAVIS", digits=1, best="max"): method[measure] for measure in MEASURES},
            Column("F-measure", "FBMS", digits=1, best="max"): method["FBMS"],
        }

    rows = [row(method, PUBLISHED) for method in paper["rows"]]
    scores = _salient_rows(found)
    for result in comparison.results:
        ours = {"method": result.label, "group": "unsupervised" if all(run.trained for run in result.runs) else ""}
        fbms = scores.get((result.label, comparison.protocol), {}).get("FBMS", (None, None))[1]
        rows.append(row({**ours, "FBMS": fbms, **{m: 100 * result.mean(m) for m in MEASURES}}, MEASURED))
    return Table.of(name, caption("comparison_table", comparison, paper), rows)


def saliency_table(found: Sequence[Comparison], name: str = "table3") -> Table | None:
    """Make the paper's Table 3 with our rows below (convention `pooled`). None if no row of ours is comparable."""
    ours = _salient_rows(found)
    if not ours:
        return None
    paper = paper_tables()["table3"]

    def row(method: str, kind: str, source: str, scores: Mapping[str, Sequence[float | None]]) -> Row:
        row = _identified(method, kind, source)
        for dataset in paper["datasets"]:
            error, F = scores.get(dataset, (None, None))
            row[Column("MAE", dataset, digits=3, best="min")] = error
            row[Column("F-measure", dataset, digits=1, best="max")] = F
        return row

    rows = [row(method["method"], method["group"], PUBLISHED, method) for method in paper["rows"]]
    protocols = sorted({protocol for _, protocol in ours})
    for (label, protocol), scores in ours.items():
        method = f"{label}, protocol {protocol}" if len(protocols) > 1 else label
        rows.append(row(method, "video", MEASURED, scores))
    return Table.of(name, caption("saliency_table", paper, protocols), rows)


def convention_table(comparison: Comparison, name: str = "saliency") -> Table | None:
    """Make a table of our rows' MAE and F-measures in both conventions. None without probability maps."""
    rows = []
    for result in comparison.results:
        scores = {convention: mean_saliency(result, convention) for convention in CONVENTIONS}
        if any(scores.values()):
            row: Row = {Column("Variant"): result.label}
            for convention, measured in scores.items():
                row[Column("MAE", convention, digits=3, best="min")] = measured.get("MAE")
                row[Column("max F", convention, digits=1, best="max")] = _percent(measured.get("F_max"))
            adaptive = scores["per_frame"].get("F_adaptive")
            row[Column("adaptive F", "per_frame", digits=1, best="max")] = _percent(adaptive)
            rows.append(row)
    return Table.of(name, caption("convention_table", comparison), rows) if rows else None


def paper_rows(comparison: Comparison) -> Mapping[str, Mapping[str, float]]:
    """Return the rows of the paper's Table 1 by variant, in percent; empty unless the comparison is on DAVIS-2016."""
    paper = paper_tables()["table1"]
    return {row["variant"]: row for row in paper["rows"]} if comparison.dataset == paper["dataset"] else {}


def mean_saliency(result: Result, convention: str) -> Mapping[str, Any]:
    """Average the saliency scores, and each point of the curves, over a row's runs; empty without probability maps."""
    found = [e.saliency[convention] for e in result.evaluations if convention in e.saliency]
    shared = [key for key in (found[0] if found else ()) if all(key in scores for scores in found)]
    return {key: np.mean([scores[key] for scores in found], axis=0) for key in shared}


def sorted_runs(runs: Sequence[Run], labels: Mapping[Run, str]) -> list[Run]:
    """Sort runs as the tables do: by variant, label and seed."""
    return sorted(runs, key=lambda run: (variant_order(run.variant), labels[run], run.seed or 0))


def duration(seconds: float | None) -> str:
    """Format seconds as `48 s`, `12 min` or `3 h 05 min`; None as an empty text."""
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _salient_rows(found: Sequence[Comparison]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """Return our rows for Table 3: (label, protocol) to the (MAE, F in percent) of each of the paper's datasets."""
    rows: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for dataset, wanted in paper_tables()["table3"]["datasets"].items():
        for comparison in found:
            if (comparison.dataset, len(comparison.sequences)) != (wanted["dataset"], wanted["sequences"]):
                continue
            for result in comparison.results:
                scores = mean_saliency(result, "pooled")
                if {"MAE", "F_max"} <= set(scores):
                    row = rows.setdefault((result.label, comparison.protocol), {})
                    row[dataset] = (float(scores["MAE"]), 100 * float(scores["F_max"]))
    return rows


def _identified(method: str, kind: str, source: str) -> Row:
    return {Column("Method"): method, Column("Kind"): kind, Column("Source"): source}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * float(value)
