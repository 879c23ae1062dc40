"""Videos dealt out to processes that share an output folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from adnet.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Number `index` of `count` processes; by default the only one. Raises UserError for a number that isn't among them."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"shard={self.index}: with shards={self.count}, it is one of 0 to {self.count - 1}")

    def mine(self, videos: Sequence[T]) -> list[T]:
        """Every `count`-th video, so that each is of one shard."""
        return list(videos[self.index :: self.count])

    @contextmanager
    def alone(self, output: Path) -> Iterator[None]:
        """No other shard is in here for the same folder. The lock is beside it: the folder has what one process would leave."""
        if self.count == 1:
            yield
            return
        output.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(output.parent / f".{output.name}.lock"):
            yield

    def refuse_overwrite(self, output: Path, overwrite: bool) -> None:
        """Raise UserError where several shards would each delete what the others have made."""
        if overwrite and self.count > 1:
            raise UserError(
                f"overwrite=true with several shards: each would delete what the others make; delete {output} instead"
            )
