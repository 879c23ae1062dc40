"""Plots of scores with intervals, per sequence and per attribute, of training curves, and the paper's Figures 3 and 4."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adnet.report.analysis.pooling import Comparison, Result, hardest_first, label_runs
from adnet.report.analysis.statistics import bootstrap_interval
from adnet.report.captions import caption
from adnet.report.figures.plot import Plot, Rows, colours, line_style, rounded, styled
from adnet.report.read import MEASURES, Run, Values
from adnet.report.tables import CONVENTIONS, mean_saliency, paper_rows, sorted_runs

CURVES = {"train/loss": "Training loss", "train/lr": "Learning rate", "val/J": "Validation J (%)"}


@styled
def score_plot(comparison: Comparison, name: str = "scores") -> Plot:
    """Draw mean J and F of each variant with their 95 % intervals, and the published values as hollow diamonds."""
    palette = colours(comparison.variants)
    paper = paper_rows(comparison)
    rows: Rows = []
    figure = Figure(figsize=(10, 1.1 + 0.34 * len(comparison.results)), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2, sharey=True), MEASURES, strict=True):
        for height, result in enumerate(comparison.results):
            interval = bootstrap_interval(result.scores[measure]["mean"]).scaled(100)
            published = paper.get(result.variant, {}).get(measure, float("nan"))
            colour = palette[result.label]
            axes.plot([interval.low, interval.high], [height, height], color=colour, linewidth=2, zorder=2)
            axes.plot(interval.estimate, height, "o", color=colour, markersize=7, zorder=3)
            axes.plot(published, height, "D", markerfacecolor="white", markeredgecolor="#444444", markersize=5.5)
            rows.append((result.label, measure, *rounded(interval.estimate, interval.low, interval.high, published)))
        axes.set_title(f"{measure} (%)")
        axes.set_yticks(range(len(comparison.results)), [result.label for result in comparison.results])
        axes.grid(axis="y", visible=False)
    axes.set_ylim(len(comparison.results) - 0.5, -0.5)
    header = ("variant", "measure", "mean", "low", "high", "published")
    return Plot(name, caption("score_plot", paper), figure, header, rows)


@styled
def sequence_plot(comparison: Comparison, name: str = "sequences") -> Plot:
    """Draw J and F of each sequence, one panel per variant, the hardest sequence first."""
    order = hardest_first(comparison)
    names = [comparison.sequences[index] for index in order]
    palette = colours(comparison.variants)
    places = np.arange(len(names))
    figure = Figure(figsize=(10, 1.1 + 1.35 * len(comparison.results)), layout="constrained")
    panels = figure.subplots(len(comparison.results), 1, sharex=True, squeeze=False)[:, 0]
    for axes, result in zip(panels, comparison.results, strict=True):
        for offset, measure, alpha in ((-0.2, "J", 1.0), (0.2, "F", 0.45)):
            scores = 100 * result.scores[measure]["mean"][order]
            colour, label = (palette[result.label], alpha), f"{measure} {scores.mean():.1f}"
            axes.bar(places + offset, scores, width=0.4, color=colour, linewidth=0, label=label)
        axes.set_title(result.label)
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 50, 100])
        axes.grid(axis="x", visible=False)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0, handlelength=1)
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.7, len(names) - 0.3)
    rows: Rows = [
        (sequence, result.label, *rounded(*(100 * float(result.scores[m]["mean"][index]) for m in MEASURES)))
        for sequence, index in zip(names, order, strict=True)
        for result in comparison.results
    ]
    return Plot(name, caption("sequence_plot"), figure, ("sequence", "variant", *MEASURES), rows)


@styled
def attribute_plot(comparison: Comparison, name: str = "attributes") -> Plot | None:
    """Draw mean J and F over the sequences with each of the dataset's attributes, one bar per variant. None without any."""
    members = next((e.attributes for r in comparison.results for e in r.evaluations if e.attributes), None)
    if not members:
        return None
    palette = colours(comparison.variants)
    places = np.arange(len(members))
    width = 0.8 / len(comparison.results)
    rows: Rows = []
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, measure in zip(figure.subplots(2, 1, sharex=True), MEASURES, strict=True):
        for index, result in enumerate(comparison.results):
            label = result.label
            scores = dict(zip(comparison.sequences, 100 * result.scores[measure]["mean"], strict=True))
            means = [float(np.mean([scores[name] for name in names])) for names in members.values()]
            offset = (index - (len(comparison.results) - 1) / 2) * width
            axes.bar(places + offset, means, width=0.92 * width, color=palette[label], label=label)
            rows += [
                (attribute, len(names), label, measure, *rounded(mean))
                for (attribute, names), mean in zip(members.items(), means, strict=True)
            ]
        axes.set_ylim(0, 100)
        axes.set_title(f"{measure} (%)")
        axes.grid(axis="x", visible=False)
    axes.set_xticks(places, [f"{attribute}\n{len(names)}" for attribute, names in members.items()])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 5), handlelength=1)
    header = ("attribute", "sequences", "variant", "measure", "mean")
    return Plot(name, caption("attribute_plot"), figure, header, rows)


@styled
def training_plot(runs: Sequence[Run], name: str = "training") -> Plot | None:
    """Draw loss, learning rate and validation J over steps, one line per run. None if no run has metrics."""
    columns = [column for column in CURVES if any(column in run.history for run in runs)]
    if not columns:
        return None
    labels = label_runs(runs)
    ordered = sorted_runs(runs, labels)
    palette = colours({labels[run]: run.variant for run in ordered})
    rows: Rows = []
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        axes.set_title(CURVES[column])
        axes.set_xlabel("step")
        for run in (run for run in ordered if column in run.history):
            steps, values = run.history[column]
            seed, colour = "" if run.seed is None else run.seed, palette[labels[run]]
            rows += [(labels[run], seed, column, step, value) for step, value in zip(steps, values, strict=True)]
            if column == "val/J":
                axes.plot(steps, 100 * values, "o-", color=colour, linewidth=1.4, markersize=3)
            elif column == "train/loss":
                # Rasterized, because the loss of every step of every run would take megabytes as an SVG path.
                axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.8, rasterized=True)
                axes.plot(steps, smoothed(values), color=colour, linewidth=1.6)
            else:
                axes.plot(steps, values, color=colour, linewidth=1.4)
        if column != "val/J":
            axes.set_ylim(bottom=0)
    drawn = list(dict.fromkeys(labels[run] for run in ordered))
    lines = [Line2D([], [], color=palette[label], linewidth=2) for label in drawn]
    figure.legend(lines, drawn, loc="outside upper left", ncols=min(len(drawn), 5))
    return Plot(name, caption("training_plot"), figure, ("variant", "seed", "metric", "step", "value"), rows)


def smoothed(values: Values) -> Values:
    """Smooth `values` `[n]` by a centred moving mean over a twentieth of them, over fewer at the ends."""
    window = np.ones(2 * (len(values) // 40) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


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
    rows: Rows = []
    figure = Figure(figsize=(5 * len(curves), 4.4), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (convention, scores_of) in zip(panels, curves.items(), strict=True):
        for label, scores in scores_of.items():
            precision, recall = 100 * scores["precision"], 100 * scores["recall"]
            drawn = recall > 0  # precision is 0 by convention if no pixel exceeds the threshold
            text = f"{label} (max F {100 * float(scores['F_max']):.1f})" if "F_max" in scores else label
            style = line_style(palette, label)
            axes.plot(recall[drawn], precision[drawn], **style, markevery=32, linewidth=1.6, label=text)
            levels = range(len(recall) - 1, -1, -1)
            pairs = zip(levels, recall.round(3).tolist(), precision.round(3).tolist(), strict=True)
            rows += [(label, convention, level, *pair) for level, *pair in pairs]
        axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="recall (%)", title=convention)
        axes.legend(loc="lower left", fontsize=8)
    figure.axes[0].set_ylabel("precision (%)")
    header = ("variant", "convention", "threshold", "recall", "precision")
    return Plot(name, caption("precision_recall_plot", list(curves)), figure, header, rows)


@styled
def drift_plot(comparison: Comparison, name: str = "drift") -> Plot | None:
    """Draw Figure 3: cosine distance to the first frame's foreground over time, mean over sequences. None if unknown.

    Frames are counted from the first annotated one. The curve ends where fewer than half of the sequences continue.
    """
    known = {result: names for result in comparison.results if (names := drift_sequences(result))}
    shared = sorted(set.intersection(*known.values())) if known else []
    if not shared:
        return None
    palette = colours(comparison.variants)
    rows: Rows = []
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
    for result in known:
        drift = mean_drift(result, shared)
        counts = np.isfinite(drift).sum(axis=0)
        end = int(np.flatnonzero(2 * counts >= len(drift))[-1]) + 1
        frames = np.flatnonzero(counts[:end]).tolist()
        columns = (drift[np.isfinite(drift[:, frame]), frame] for frame in frames)
        intervals = [bootstrap_interval(column, resamples=1000) for column in columns]
        means, low, high = zip(*((one.estimate, one.low, one.high) for one in intervals), strict=True)
        style = line_style(palette, result.label)
        axes.fill_between(frames, low, high, color=style["color"], alpha=0.12, linewidth=0)
        axes.plot(frames, means, **style, markevery=8, label=result.label)
        rows += [
            (result.label, frame, int(counts[frame]), *rounded(one.estimate, one.low, one.high))
            for frame, one in zip(frames, intervals, strict=True)
        ]
    axes.set(xlabel="frames after the first", ylabel="mean cosine distance")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", ncols=min(len(known), 5), bbox_to_anchor=(0, 1.14), borderaxespad=0)
    header = ("variant", "frame", "sequences", "distance", "low", "high")
    return Plot(name, caption("drift_plot", comparison, shared), figure, header, rows)


def drift_sequences(result: Result) -> set[str]:
    """Return the sequences with a drift curve in any of a row's runs."""
    return {name for e in result.evaluations for name, curve in e.drift.items() if np.isfinite(curve).any()}


def mean_drift(result: Result, names: Sequence[str]) -> Values:
    """Average the drift curves of a row over its runs: `[names, frames]`, NaN after the end of a sequence."""
    found = [[e.drift[name] for e in result.evaluations if name in e.drift] for name in names]
    drift = np.full((len(names), max(len(curve) for curves in found for curve in curves)), np.nan)
    for row, curves in zip(drift, found, strict=True):
        shortest = min(map(len, curves))
        row[:shortest] = np.mean([curve[:shortest] for curve in curves], axis=0)
    return drift
