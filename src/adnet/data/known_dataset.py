"""What is known of a dataset in one entry: the facts, the rule that scores it, and the function that finds it on disk."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import Any, get_type_hints

from adnet.data.videos import Rule, Video, VideoDataset, annotated_frames
from adnet.errors import UserError

Root = str | Path
Keep = Sequence[str] | None  # names of the sequences to keep; None: all


@dataclass(frozen=True)
class Split:
    """A split of the release; the last two are None where we had no copy to look at.

    `folder` is the split's own in the dataset's root, if it has one; `required` says that a copy without it is incomplete.
    `frames` and `sha256` are as in `fingerprint`.
    """

    sequences: int
    folder: str = ""
    required: bool = True
    frames: int | None = None
    sha256: str | None = None


DATASETS: dict[str, "KnownDataset"] = {}
"""Every dataset by its name: that of its function, of its file in `conf/data`, and of `VideoDataset`."""


@dataclass(eq=False, repr=False)
class KnownDataset:
    """A dataset: called with `root`, `split` and the options, it finds the sequences of the split, checked.

    An entry decorates a function that finds them. The first paragraph of its docstring says what the dataset is, the second what
    lies in `root`; `sequences` are the names of those to keep:

        @partial(KnownDataset, terms="CC BY 4.0", splits={"val": Split(12)}, page="ask us")
        def mine(root: Path, split: str = "val", sequences: Keep = None) -> Iterable[Video]:

    The call adds the arguments `train_sequences` and `val_sequences`, which take precedence over `sequences` in the splits to train
    on and to validate on. Where a dataset has `test` but no `val`, `val` is another name for it.

    Args:
        find: the decorated function.
        terms: its licence; "": `page` has it, if there is one.
        scored: its rule for the frames that count.
        splits: those of the release.
        page: where to get it: an address, or a sentence if it can't be downloaded; "": it is not for download.
        url: address of its ZIP file, if anyone may download it, and `top`: a folder that lies in its root.
        prepare: called first with the root and the options, which then are its keyword-only arguments and not those of `find`.
    """

    find: Callable[..., Iterable[Video]]
    terms: str = ""
    scored: Rule = annotated_frames
    splits: Mapping[str, Split] = field(default_factory=dict)
    page: str = ""
    url: str | None = None
    top: str = ""
    prepare: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        update_wrapper(self, self.find)
        self.name = self.find.__name__
        functions = (self.find, self.prepare) if self.prepare else (self.find,)
        chosen = ("train_sequences", "val_sequences")
        # Configs are checked against annotations and signature.
        hints = {name: hint for one in functions for name, hint in get_type_hints(one, include_extras=True).items()}
        self.__annotations__ = hints | dict.fromkeys(chosen, Keep) | {"root": Root, "return": VideoDataset}
        parameters = {name: each for one in functions for name, each in inspect.signature(one).parameters.items()}
        parameters |= {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in chosen}
        self.__signature__ = inspect.Signature([*parameters.values()])
        DATASETS[self.name] = self

    def __call__(
        self,
        root: Root,
        split: str | None = None,
        sequences: Keep = None,
        train_sequences: Keep = None,
        val_sequences: Keep = None,
        **options: Any,
    ) -> VideoDataset:
        """Find and check the sequences of a split, by default that of `find`. Raises UserError for whatever doesn't fit."""
        split = split or inspect.signature(self.find).parameters["split"].default
        if split == "val" and "val" not in self.splits and "test" in self.splits:
            split = "test"
        by_split = {"train": train_sequences, **dict.fromkeys(("val", "valid", "test"), val_sequences)}
        root = Path(root)
        if self.prepare:
            self.prepare(root, **options)
            options = {}
        if not root.is_dir():
            raise UserError(f"no dataset at {root}: set data.root, or ADNET_DATA to the folder that holds {root.name}")
        wanted = by_split.get(split) or sequences or None  # in a config, an empty list chooses nothing
        found = self.find(root, split, wanted, **options)
        return VideoDataset(self.name, split, root, tuple(found), self.scored, options)

    def known_split(self, split: str) -> Split:
        """Return the facts of a split of the release. Raises UserError if there is no such split."""
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise UserError(f"{self.name} has no split {split!r}: the splits are {known}; set data.split")
        return self.splits[split]
