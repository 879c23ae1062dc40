"""Training on several data sets at once, each with its share of the pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from adnet.data.sequence import VideoDataset
from adnet.errors import UserError


@dataclass(frozen=True)
class Source:
    """A data set to train on beside the first: `weight` pairs of it for each pair of the first, on average.

    Raises UserError for a weight that is not above 0.
    """

    dataset: VideoDataset
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise UserError(
                f"mix: the weight of {self.dataset.name} is {self.weight}; give a number above 0, or leave it out"
            )


def mixed(first: VideoDataset, sources: Mapping[str, Source]) -> VideoDataset:
    """Join `first`, whose weight is 1, and `sources` into one data set; `first` itself where there are none.

    A source's weight is shared by its sequences evenly, whatever their length, and its name goes before theirs: `duts/0001`.
    Raises UserError for a source in which no annotation has any foreground.
    """
    if not sources:
        return first
    sequences = []
    for prefix, source in {"": Source(first), **{f"{name}/": source for name, source in sources.items()}}.items():
        dataset = source.dataset
        if not _has_foreground(dataset):
            raise UserError(
                f"{dataset.name} {dataset.split} at {dataset.root}: all masks are empty, so that there is nothing to learn; check them"
            )
        weight = source.weight / len(dataset.sequences)
        sequences += [replace(one, name=f"{prefix}{one.name}", weight=weight) for one in dataset.sequences]
    return replace(first, sequences=tuple(sequences))


def _has_foreground(dataset: VideoDataset) -> bool:
    """Whether any annotation has; of most data sets the first that is read does."""
    return any(
        sequence.annotation(sequence.frames[index]).any()
        for sequence in dataset.sequences
        for index in sequence.annotated
    )
