"""Plots of scores with intervals, of scores per sequence and per attribute, and of training curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from adnet.report.analysis.pooling import Comparison, hardest_first, label_runs, variant_order
from adnet.report.analysis.statistics import bootstrap_interval
from adnet.report.figures.plot import Plot, colours, lightened, rounded, styled
from adnet.report.read.evaluations import MEASURES, Values
from adnet.report.read.runs import Run
from adnet.report.tables.score_tables import paper_rows

CURVES = (("train/loss", "Training loss"), ("train/lr", "Learning rate"), ("val/J", "Validation J (%)"))


@styled
def score_plot(comparison: Comparison, name: str = "scores") -> Plot:
    """Draw mean J and F of each variant with their 95 % intervals, and the published values as hollow diamonds."""
    palette = colours(comparison.variants)
    paper = paper_rows(comparison)
    rows: list[tuple[str | float, ...]] = []
    figure = Figure(figsize=(10, 1.1 + 0.34 * len(comparison.results)), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2, sharey=True), MEASURES, strict=True):
        for height, result in enumerate(comparison.results):
            interval = bootstrap_interval(result.scores[measure]["mean"]).scaled(100)
            published = paper.get(result.variant, {}).get(measure, float("nan"))
            colour = palette[result.label]
            axes.plot([interval.low, interval.high], [height, height], color=colour, linewidth=2, zorder=2)
            axes.plot(interval.estimate, height, "o", color=colour, markersize=7, zorder=3)
            axes.plot(published, height, "D", markerfacecolor="white", markeredgecolor="#444444", markersize=5.5)
            numbers = (interval.estimate, interval.low, interval.high, published)
            rows.append((result.label, measure, *rounded(*numbers)))
        axes.set_title(f"{measure} (%)")
        axes.set_yticks(range(len(comparison.results)), [result.label for result in comparison.results])
        axes.grid(axis="y", visible=False)
    axes.set_ylim(len(comparison.results) - 0.5, -0.5)
    caption = "Mean over sequences, with the 95 % bootstrap interval over sequences."
    if paper:
        caption += " Hollow diamonds: the published Table 1."
    return Plot(name, caption, figure, ("variant", "measure", "mean", "low", "high", "published"), tuple(rows))


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
        for offset, measure, lightness in ((-0.2, "J", 0.0), (0.2, "F", 0.55)):
            scores = 100 * result.scores[measure]["mean"][order]
            axes.bar(
                places + offset,
                scores,
                width=0.4,
                color=lightened(palette[result.label], lightness),
                linewidth=0,
                label=f"{measure} {scores.mean():.1f}",
            )
        axes.set_title(result.label)
        axes.set_ylim(0, 100)
        axes.set_yticks([0, 50, 100])
        axes.grid(axis="x", visible=False)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0, handlelength=1)
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.7, len(names) - 0.3)
    rows = [
        (sequence, result.label, *rounded(*(100 * float(result.scores[m]["mean"][index]) for m in MEASURES)))
        for sequence, index in zip(names, order, strict=True)
        for result in comparison.results
    ]
    caption = (
        "Mean J (full colour) and F (light) of each sequence in percent, by increasing J (mean over the variants)."
    )
    return Plot(name, caption, figure, ("sequence", "variant", *MEASURES), tuple(rows))


@styled
def attribute_plot(comparison: Comparison, name: str = "attributes") -> Plot | None:
    """Draw mean J and F over the sequences with each of the dataset's attributes, one bar per variant.

    None if the dataset has no attributes.
    """
    members = next((e.attributes for r in comparison.results for e in r.evaluations if e.attributes), None)
    if not members:
        return None
    palette = colours(comparison.variants)
    places = np.arange(len(members))
    width = 0.8 / len(comparison.results)
    rows: list[tuple[str | float, ...]] = []
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    for axes, measure in zip(figure.subplots(2, 1, sharex=True), MEASURES, strict=True):
        for index, result in enumerate(comparison.results):
            scores = dict(zip(comparison.sequences, 100 * result.scores[measure]["mean"], strict=True))
            means = [float(np.mean([scores[name] for name in names])) for names in members.values()]
            offset = (index - (len(comparison.results) - 1) / 2) * width
            axes.bar(places + offset, means, width=0.92 * width, color=palette[result.label], label=result.label)
            rows += [
                (attribute, len(names), result.label, measure, *rounded(mean))
                for (attribute, names), mean in zip(members.items(), means, strict=True)
            ]
        axes.set_ylim(0, 100)
        axes.set_title(f"{measure} (%)")
        axes.grid(axis="x", visible=False)
    axes.set_xticks(places, [f"{attribute}\n{len(names)}" for attribute, names in members.items()])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=min(len(labels), 5), handlelength=1)
    caption = (
        "Mean over the sequences with an attribute of the dataset; their number is below its name. A sequence has "
        "several attributes, and some attributes have few sequences: differences are hints, not tests."
    )
    return Plot(name, caption, figure, ("attribute", "sequences", "variant", "measure", "mean"), tuple(rows))


@styled
def training_plot(runs: Sequence[Run], name: str = "training") -> Plot | None:
    """Draw loss, learning rate and validation J over steps, one line per run. None if no run has metrics."""
    labels = label_runs(runs)
    columns = [(column, title) for column, title in CURVES if any(column in run.history for run in runs)]
    if not columns:
        return None
    ordered = sorted(runs, key=lambda run: (variant_order(run.variant), labels[run], run.seed or 0))
    palette = colours({labels[run]: run.variant for run in ordered})
    rows: list[tuple[str | float, ...]] = []
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        for run in ordered:
            if column not in run.history:
                continue
            steps, values = run.history[column]
            colour = palette[labels[run]]
            if column == "train/loss":
                # Rasterized, because the loss of every step of every run would take megabytes as an SVG path.
                axes.plot(steps, values, color=colour, alpha=0.18, linewidth=0.8, rasterized=True)
                axes.plot(steps, smoothed(values), color=colour, linewidth=1.6)
            elif column == "val/J":
                axes.plot(steps, 100 * values, "o-", color=colour, linewidth=1.4, markersize=3)
            else:
                axes.plot(steps, values, color=colour, linewidth=1.4)
            seed = "" if run.seed is None else run.seed
            rows += [(labels[run], seed, column, step, value) for step, value in zip(steps, values, strict=True)]
        if column != "val/J":
            axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("step")
    drawn = list(dict.fromkeys(labels[run] for run in ordered))
    lines = [matplotlib.lines.Line2D([], [], color=palette[label], linewidth=2) for label in drawn]
    figure.legend(lines, drawn, loc="outside upper left", ncols=min(len(drawn), 5))
    caption = (
        "Training, one colour per variant and one line per run. The loss is faint, its moving mean in full colour."
    )
    return Plot(name, caption, figure, ("variant", "seed", "metric", "step", "value"), tuple(rows))


def smoothed(values: Values) -> Values:
    """Smooth `values` `[n]` by a centred moving mean over a twentieth of them, over fewer at the ends."""
    half = len(values) // 40
    total = np.concatenate([[0.0], np.cumsum(values)])
    centre = np.arange(len(values))
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half + 1, len(values))
    means: Values = (total[high] - total[low]) / (high - low)
    return means
