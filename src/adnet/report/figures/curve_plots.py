"""Figures 3 and 4 of the paper: drift of the foreground embeddings, and precision against recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from adnet.report.analysis.pooling import Comparison, Result
from adnet.report.analysis.statistics import bootstrap_interval
from adnet.report.figures.plot import MARKERS, Plot, colours, rounded, styled
from adnet.report.read.evaluations import Values
from adnet.report.tables.comparison_tables import CONVENTIONS, mean_saliency


@styled
def precision_recall_plot(comparison: Comparison, name: str = "precision_recall") -> Plot | None:
    """Draw Figure 4 in both conventions, one curve per variant. None without probability maps."""
    curves: dict[str, dict[str, Mapping[str, Any]]] = {}
    for convention in CONVENTIONS:
        for result in comparison.results:
            scores = mean_saliency(result, convention)
            if {"precision", "recall"} <= set(scores):
                curves.setdefault(convention, {})[result.label] = scores
    if not curves:
        return None
    palette = colours(comparison.variants)
    rows: list[tuple[str | float, ...]] = []
    figure = Figure(figsize=(5 * len(curves), 4.4), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (convention, scores_of) in zip(panels, curves.items(), strict=True):
        for label, scores in scores_of.items():
            precision, recall = 100 * scores["precision"], 100 * scores["recall"]
            drawn = recall > 0  # precision is 0 by convention if no pixel exceeds the threshold
            marker = MARKERS[list(palette).index(label) % len(MARKERS)]
            text = f"{label} (max F {100 * float(scores['F_max']):.1f})" if "F_max" in scores else label
            axes.plot(
                recall[drawn],
                precision[drawn],
                color=palette[label],
                marker=marker,
                markevery=32,
                markersize=4.5,
                linewidth=1.6,
                label=text,
            )
            levels = range(len(recall) - 1, -1, -1)
            pairs = zip(levels, recall.round(3).tolist(), precision.round(3).tolist(), strict=True)
            rows += [(label, convention, level, *pair) for level, *pair in pairs]
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="recall (%)", title=convention)
        axes.legend(loc="lower left", fontsize=8)
    figure.axes[0].set_ylabel("precision (%)")
    caption = (
        "Precision against recall over 256 thresholds of the probability, as in the paper's Figure 4. "
        + "; ".join(f"{convention}: {CONVENTIONS[convention]}" for convention in curves)
    )
    return Plot(name, f"{caption}.", figure, ("variant", "convention", "threshold", "recall", "precision"), tuple(rows))


@styled
def drift_plot(comparison: Comparison, name: str = "drift") -> Plot | None:
    """Draw Figure 3: cosine distance to the first frame's foreground over time, mean over sequences. None if unknown.

    Frames are counted from the first annotated one. The curve ends where fewer than half of the sequences continue.
    """
    known = {result: names for result in comparison.results if (names := drift_sequences(result))}
    shared = sorted(set.intersection(*known.values())) if known else []
    if not shared:
        return None
    drawn = {result.label: mean_drift(result, shared) for result in known}
    palette = colours(comparison.variants)
    rows: list[tuple[str | float, ...]] = []
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    for label, drift in drawn.items():
        counts = np.isfinite(drift).sum(axis=0)
        end = int(np.flatnonzero(2 * counts >= len(drift))[-1]) + 1
        columns = [drift[np.isfinite(drift[:, frame]), frame] for frame in range(end)]
        frames = [frame for frame, column in enumerate(columns) if len(column)]
        intervals = [bootstrap_interval(columns[frame], resamples=1000) for frame in frames]
        means = [interval.estimate for interval in intervals]
        low, high = ([getattr(interval, end) for interval in intervals] for end in ("low", "high"))
        marker = MARKERS[list(palette).index(label) % len(MARKERS)]
        axes.fill_between(frames, low, high, color=palette[label], alpha=0.12, linewidth=0)
        axes.plot(frames, means, color=palette[label], marker=marker, markevery=8, markersize=4.5, label=label)
        rows += [
            (label, frame, int(counts[frame]), *rounded(mean, a, b))
            for frame, mean, a, b in zip(frames, means, low, high, strict=True)
        ]
    axes.set(xlabel="frames after the first", ylabel="mean cosine distance")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", ncols=min(len(drawn), 5), bbox_to_anchor=(0, 1.14), borderaxespad=0)
    caption = (
        "Cosine distance between the foreground embeddings of a frame and those of the first frame, mean over all pairs "
        f"of pixels, then over sequences ({len(shared)} of {len(comparison.sequences)}, the same for each variant), as in "
        "the paper's Figure 3, with the 95 % bootstrap interval over sequences. The value of the first frame itself is the "
        "spread within it. Embeddings are the input of the branches; for the baseline, of its last convolution."
    )
    return Plot(name, caption, figure, ("variant", "frame", "sequences", "distance", "low", "high"), tuple(rows))


def drift_sequences(result: Result) -> set[str]:
    """Return the sequences with a drift curve in any of a row's runs."""
    return {name for e in result.evaluations for name, curve in e.drift.items() if np.isfinite(curve).any()}


def mean_drift(result: Result, names: Sequence[str]) -> Values:
    """Average the drift curves of a row over its runs: `[names, frames]`, NaN after the end of a sequence."""
    found = {name: [e.drift[name] for e in result.evaluations if name in e.drift] for name in names}
    length = max((len(curve) for curves in found.values() for curve in curves), default=0)
    drift = np.full((len(names), length), np.nan)
    for row, curves in zip(drift, found.values(), strict=True):
        shortest = min(map(len, curves))
        row[:shortest] = np.mean([curve[:shortest] for curve in curves], axis=0)
    return drift
