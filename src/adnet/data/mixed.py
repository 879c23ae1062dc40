"""Train on several datasets at once, each with its share of the pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import PositiveFloat

from adnet.data.videos import VideoDataset
from adnet.errors import UserError


@dataclass(frozen=True)
class Source:
    """A dataset to train on beside the first: on average `weight` of its pairs for each pair of the first."""

    dataset: VideoDataset
    weight: PositiveFloat = 1.0


def mixed(first: VideoDataset, sources: Mapping[str, Source]) -> VideoDataset:
    """Join `first`, whose weight is 1, and `sources` into one dataset; without sources return `first` itself.

    A source's weight is split evenly over its sequences, and its name precedes theirs: `duts/0001`. Raises UserError for a source
    without any foreground.
    """
    if not sources:
        return first
    sequences = []
    for prefix, source in {"": Source(first), **{f"{name}/": source for name, source in sources.items()}}.items():
        dataset = source.dataset
        # In most datasets the first annotation has foreground, and the others are not read.
        if not any(s.annotation(s.frames[index]).any() for s in dataset.sequences for index in s.annotated):
            where = f"{dataset.name} {dataset.split} at {dataset.root}"
            raise UserError(f"{where}: all masks are empty, so there is nothing to learn; check them")
        weight = source.weight / len(dataset.sequences)
        sequences += [replace(s, name=f"{prefix}{s.name}", weight=weight) for s in dataset.sequences]
    return replace(first, sequences=tuple(sequences))
