from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from videos import pictures

from adnet.app.segmentation import Bounded
from adnet.errors import UserError
from adnet.video.file import VideoFrame


class Clip:
    name, live = "clip", False

    def __init__(self, number: int, known: bool = True) -> None:
        self.number, self.known, self.read = number, known, 0

    def length(self) -> int | None:
        return self.number if self.known else None

    def content(self) -> dict[str, Any] | None:
        return None

    def names(self) -> Iterator[str]:
        return map("{:05d}".format, range(self.number))

    def frames(self) -> Iterator[VideoFrame]:
        for index, image in enumerate(pictures(self.number)):
            self.read += 1
            yield VideoFrame(f"{index:05d}", image, index / 25)


def names(source: Any) -> tuple[list[str], str]:
    """The frames that there are, and what is said after them."""
    seen: list[str] = []
    try:
        seen.extend(frame.name for frame in source.frames())
    except UserError as error:
        return seen, str(error)
    return seen, ""


def test_a_short_video_is_left_as_it_is() -> None:
    bounded = Bounded(Clip(3), 3, 48 * 80, lambda: False)
    assert names(bounded) == (["00000", "00001", "00002"], "")
    assert bounded.length() == 3


def test_a_long_one_ends_at_the_limit_and_says_so() -> None:
    clip = Clip(50)
    bounded = Bounded(clip, 2, 48 * 80, lambda: False)
    seen, said = names(bounded)
    assert seen == ["00000", "00001"]
    assert said == "clip is longer than the 2 frames allowed here (max_frames)"
    assert (clip.read, bounded.length(), [*bounded.names()]) == (3, 2, seen)
    assert Bounded(Clip(50, known=False), 2, 48 * 80, lambda: False).length() is None


def test_large_frames_are_refused() -> None:
    seen, said = names(Bounded(Clip(2), 2, 3000, lambda: False))
    assert seen == []
    assert said == ("clip has frames of 80 x 48, 0.0 megapixels; at most 0.003 are allowed here (max_megapixels)")


def test_a_video_that_nobody_waits_for_ends() -> None:
    clip = Clip(50)
    seen: list[str] = []
    with pytest.raises(UserError, match="nobody is waiting"):
        seen.extend(frame.name for frame in Bounded(clip, 50, 48 * 80, lambda: clip.read > 2).frames())
    assert clip.read == 3
