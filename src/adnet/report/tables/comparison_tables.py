"""The paper's Tables 2 and 3 with rows for our own measurements, and saliency in both conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adnet.report.analysis.pooling import Comparison, Result
from adnet.report.read.evaluations import MEASURES
from adnet.report.read.runs import paper_tables
from adnet.report.tables.table import Column, Table, Value

PUBLISHED, MEASURED = "published", "measured"

CONVENTIONS = {
    "pooled": "one curve over all pixels of all frames, F1, as in the published code",
    "per_frame": "each map stretched to [0, 1], \N{GREEK SMALL LETTER BETA}\N{SUPERSCRIPT TWO} = 0.3, curves averaged over "
    "frames, as in the SOD toolboxes",
}


def comparison_table(comparison: Comparison, found: Sequence[Comparison] = (), name: str = "table2") -> Table | None:
    """Make the paper's Table 2 with our rows below. None if `comparison` is not the one of that table.

    F-measures on FBMS come from the rows in `found` with the same label and protocol.
    """
    paper = paper_tables()["table2"]
    key = (comparison.dataset, comparison.split, len(comparison.sequences))
    if key != (paper["dataset"], paper["split"], paper["sequences"]):
        return None
    columns = (
        Column("Method"),
        Column("Kind"),
        Column("Source"),
        Column("first frame"),
        Column("flow"),
        Column("CRF"),
        *(Column(measure, "DAVIS", digits=1, best="max") for measure in MEASURES),
        Column("F-measure", "FBMS", digits=1, best="max"),
    )
    marks = ("first_frame", "flow", "crf")
    theirs = [
        (
            row["method"],
            row["group"],
            PUBLISHED,
            *("yes" if row[mark] else "" for mark in marks),
            *(row[measure] for measure in (*MEASURES, "FBMS")),
        )
        for row in paper["rows"]
    ]
    scores = _salient_rows(found)
    ours = [
        (
            result.label,
            "unsupervised" if all(run.trained for run in result.runs) else "",
            MEASURED,
            *("" for _ in marks),
            *(100 * result.mean(measure) for measure in MEASURES),
            scores.get((result.label, comparison.protocol), {}).get("FBMS", (None, None))[1],
        )
        for result in comparison.results
    ]
    caption = (
        f"The methods of the paper's {paper['source']} as published, and measurements of this report (protocol "
        f"{comparison.protocol}), on the {paper['sequences']} sequences of DAVIS-2016 val and the FBMS test set. First "
        "frame: needs its annotation; flow: needs optical flow; CRF: refined by a conditional random field."
    )
    return Table(name, caption, columns, tuple(theirs + ours))


def saliency_table(found: Sequence[Comparison], name: str = "table3") -> Table | None:
    """Make the paper's Table 3 with our rows below (convention `pooled`). None if no row of ours is comparable."""
    ours = _salient_rows(found)
    if not ours:
        return None
    paper = paper_tables()["table3"]
    columns = [Column("Method"), Column("Kind"), Column("Source")]
    for dataset in paper["datasets"]:
        columns += [Column("MAE", dataset, digits=3, best="min"), Column("F-measure", dataset, digits=1, best="max")]
    rows: list[list[Value]] = [
        [row["method"], row["group"], PUBLISHED, *(value for dataset in paper["datasets"] for value in row[dataset])]
        for row in paper["rows"]
    ]
    several = len({protocol for _, protocol in ours}) > 1
    for (label, protocol), scores in ours.items():
        values = [value for dataset in paper["datasets"] for value in scores.get(dataset, (None, None))]
        rows.append([f"{label}, protocol {protocol}" if several else label, "video", MEASURED, *values])
    protocols = ", ".join(sorted({protocol for _, protocol in ours}))
    caption = (
        f"The methods of the paper's {paper['source']} as published, and measurements of this report (protocol "
        f"{protocols}; convention pooled: {CONVENTIONS['pooled']}). MAE in [0, 1], F-measure in percent."
    )
    return Table(name, caption, tuple(columns), tuple(tuple(row) for row in rows))


def convention_table(comparison: Comparison, name: str = "saliency") -> Table | None:
    """Make a table of our rows' MAE and F-measures in both conventions. None without probability maps."""
    results = [
        (result, {convention: mean_saliency(result, convention) for convention in CONVENTIONS})
        for result in comparison.results
    ]
    rows = tuple(
        (
            result.label,
            *(_percent(scores["pooled"].get(key), key) for key in ("MAE", "F_max")),
            *(_percent(scores["per_frame"].get(key), key) for key in ("MAE", "F_max", "F_adaptive")),
        )
        for result, scores in results
        if any(scores.values())
    )
    if not rows:
        return None
    columns = (
        Column("Variant"),
        Column("MAE", "pooled", digits=3, best="min"),
        Column("max F", "pooled", digits=1, best="max"),
        Column("MAE", "per_frame", digits=3, best="min"),
        Column("max F", "per_frame", digits=1, best="max"),
        Column("adaptive F", "per_frame", digits=1, best="max"),
    )
    words = "; ".join(f"{convention}: {text}" for convention, text in CONVENTIONS.items())
    caption = (
        f"Saliency on {comparison.dataset} {comparison.split}, {len(comparison.sequences)} sequences, protocol "
        f"{comparison.protocol}. MAE in [0, 1], F-measures in percent. {words}."
    )
    return Table(name, caption, columns, rows)


def mean_saliency(result: Result, convention: str) -> Mapping[str, Any]:
    """Average the saliency scores, and each point of the curves, over a row's runs; empty without probability maps."""
    found = [e.saliency[convention] for e in result.evaluations if convention in e.saliency]
    shared = [key for key in (found[0] if found else ()) if all(key in scores for scores in found)]
    return {key: np.mean([scores[key] for scores in found], axis=0) for key in shared}


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


def _percent(value: Any, key: str) -> float | None:
    if value is None:
        return None
    return float(value) if key == "MAE" else 100 * float(value)
