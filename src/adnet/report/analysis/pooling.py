"""Group runs that can be compared (same dataset, split, protocol, sequences and frames), and average them over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adnet.report.read import MEASURES, STATISTICS, VARIANTS, Evaluation, Run, Values

# Runs that differ only in these settings (a path, a seed, a machine, what is measured on the side) are replicates. GROUPS
# are compared with the first part of a dotted key, KEYS with its last part.
REPLICATE_GROUPS = {
    "allow_changed_data", "callbacks", "checkpoint_steps", "embeddings", "hydra", "launcher", "logger", "protocol",
    "resume", "run_dir", "test_at_end", "test_at_start",
}  # fmt: skip
REPLICATE_KEYS = {
    "accelerator", "benchmark", "checkpoint_activations", "devices", "log_every_n_steps", "num_nodes", "pin_memory",
    "root", "seed", "workers",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Result:
    """One row of a score table. `scores[measure][statistic]` is `[n]` over sequences, each the mean over the runs."""

    label: str
    variant: str
    scores: Mapping[str, Mapping[str, Values]]
    runs: tuple[Run, ...]
    evaluations: tuple[Evaluation, ...]

    def mean(self, measure: str, statistic: str = "mean") -> float:
        """Average over sequences, in [0, 1]. Sequences without the statistic (decay with too few frames) are left out."""
        values = self.scores[measure][statistic]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def spread(self, measure: str) -> float:
        """Return the standard deviation (`ddof=1`) of the runs' means over sequences; NaN for one run."""
        means = [evaluation.scores[measure]["mean"].mean() for evaluation in self.evaluations]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results on the same frames of the same sequences, in the paper's order of variants."""

    dataset: str
    split: str
    protocol: str
    sequences: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def baseline(self) -> Result | None:
        """The row that improvements are measured against, if there is exactly one."""
        rows = [result for result in self.results if result.variant == "baseline"]
        return rows[0] if len(rows) == 1 else None

    @property
    def variants(self) -> dict[str, str]:
        """The variant of each row, by the row's label."""
        return {result.label: result.variant for result in self.results}


def pool(runs: Sequence[Run]) -> tuple[Comparison, ...]:
    """Group the evaluations of `runs` into comparisons, the one with the most evaluations first.

    Evaluations on different sequences or frames are not in one comparison, even if dataset, split and protocol agree; an older
    file, which does not name its frames, is compared if their number agrees. Scores of another method, which has a protocol of
    its own, join every comparison on the same frames.
    """
    labels = label_runs(runs)
    groups: dict[tuple[str, str, str, tuple[str, ...], tuple[tuple[str, ...], ...]], list[tuple[Run, Evaluation]]] = {}
    for run in sorted(runs, key=lambda run: not run.trained):
        for evaluation in run.evaluations:
            frames = tuple(
                evaluation.stems.get(name) or ("",) * len(evaluation.frames.get(name, ()))
                for name in evaluation.sequences
            )
            key = (evaluation.dataset, evaluation.split, evaluation.protocol, evaluation.sequences, frames)
            same = [k for k in groups if (*k[:2], k[3]) == (*key[:2], key[3]) and _agree(k[4], frames)]
            if run.trained or not same:
                same = [next((k for k in same if k[2] == evaluation.protocol), key)]
            for place in same:
                groups.setdefault(place, []).append((run, evaluation))
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Comparison(*key[:4], results=_pooled(members, labels)) for key, members in ordered)


def _agree(frames: Sequence[tuple[str, ...]], others: Sequence[tuple[str, ...]]) -> bool:
    """Return whether two files can be of the same frames. Older ones have no names, which are then empty, or no frames at all."""
    return all(
        not a or not b or (len(a) == len(b) and (a == b or not a[0] or not b[0]))
        for a, b in zip(frames, others, strict=True)
    )


def label_runs(runs: Sequence[Run]) -> dict[Run, str]:
    """Name the table row of each run: its variant, plus the few settings that distinguish runs of that variant.

    Runs that differ only in their seed, or in where and how they were launched, share a label.
    """
    labels: dict[Run, str] = {}
    for variant, keys in differing_settings(runs).items():
        members = [run for run in runs if run.variant == variant]
        chosen = _distinguishing(keys, members)
        leaves = [key.rpartition(".")[2] for key in chosen]
        names = [leaf if leaves.count(leaf) == 1 else key for leaf, key in zip(leaves, chosen, strict=True)]
        for run in members:
            settings = [f"{name}={_setting(run, key)}" for name, key in zip(names, chosen, strict=True)]
            labels[run] = f"{variant} ({', '.join(settings)})" if settings else variant
    return labels


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """List the dotted config keys in which the runs of each variant differ, ignoring those in which replicates may."""
    differing = {}
    for variant in sorted({run.variant for run in runs}, key=variant_order):
        members = [run for run in runs if run.variant == variant]
        keys = sorted({key for run in members for key in run.config if not _is_replicate_key(key)})
        differing[variant] = [key for key in keys if _count_distinct([key], members) > 1]
    return differing


def hardest_first(comparison: Comparison) -> npt.NDArray[np.intp]:
    """Return the indices of the sequences by increasing J (mean over the variants)."""
    return np.argsort(np.mean([result.scores["J"]["mean"] for result in comparison.results], axis=0), kind="stable")


def variant_order(variant: str) -> tuple[int, str]:
    """Return a sort key: the paper's variants in its order, then the others by name."""
    return (VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS), variant)


def _is_replicate_key(key: str) -> bool:
    parts = key.split(".")
    if key.startswith("callbacks.weight_averaging."):  # the only callback that changes the network
        return False
    return parts[0] in REPLICATE_GROUPS or parts[-1] in REPLICATE_KEYS


def _count_distinct(keys: Sequence[str], runs: Sequence[Run]) -> int:
    return len({tuple(_setting(run, key) for key in keys) for run in runs})


def _setting(run: Run, key: str) -> str:
    """Return a setting as text: true is on; null, false, 0 and one that did not exist when an older version made the run are off."""
    value = run.config.get(key)
    return "on" if value is True else str(value or "off")


def _distinguishing(keys: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Choose a few of `keys` that distinguish `runs` as well as all of them do: greedily, preferring short keys."""
    chosen: list[str] = []
    while _count_distinct(chosen, runs) < _count_distinct(keys, runs):
        chosen.append(max(keys, key=lambda key: (_count_distinct([*chosen, key], runs), -len(key))))
    return chosen


def _pooled(members: Sequence[tuple[Run, Evaluation]], labels: Mapping[Run, str]) -> tuple[Result, ...]:
    rows: dict[str, dict[Run, Evaluation]] = {}
    mixed = len({evaluation.weights for run, evaluation in members if run.trained}) > 1
    sizes = {evaluation.size for run, evaluation in members if run.trained} - {None}
    for run, evaluation in members:
        label = labels[run]
        if mixed and run.trained and evaluation.weights != "last":
            label += f", {evaluation.weights}"
        if len(sizes) > 1 and evaluation.size:
            label += f", {evaluation.size}"
        label += "".join(f" + {extra}" for extra in evaluation.extras)
        earlier = rows.get(label, {}).get(run)
        united = earlier and earlier.united_with(evaluation)
        if earlier and not united:  # the same weights, evaluated in a different way
            label += f" [{evaluation.folder.name}]"
        rows.setdefault(label, {})[run] = united or evaluation
    results = [
        Result(
            label=label,
            variant=next(iter(row)).variant,
            scores={
                measure: {
                    statistic: np.mean([evaluation.scores[measure][statistic] for evaluation in row.values()], axis=0)
                    for statistic in STATISTICS
                }
                for measure in MEASURES
            },
            runs=tuple(row),
            evaluations=tuple(row.values()),
        )
        for label, row in rows.items()
    ]
    return tuple(sorted(results, key=lambda result: (variant_order(result.variant), result.label)))
