"""A network learns corrected frames of a synthetic video, and nothing else of it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adnet.data.masks import Mask, read_mask, write_mask
from adnet.data.synthetic import synthesize
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter, load_checkpoint
from adnet.metrics import region_similarity
from adnet.models import ADNet
from adnet.training.adaptation import adapt, read_corrections
from adnet.video.sources import VideoSource, video_sources

SIZE = (97, 161)
CORRECTED = ("00000", "00004")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoSource, dict[str, Mask]]:
    """A video of 8 frames, and the right masks of all."""
    root = synthesize(tmp_path_factory.mktemp("clip") / "data", train=1, val=0, frames=8, size=(96, 160))
    (source,) = video_sources(str(next(root.glob("JPEGImages/480p/*"))))
    return source, {path.stem: read_mask(path) for path in sorted(root.glob("Annotations/480p/*/*.png"))}


@pytest.fixture(scope="module")
def released() -> ADNet:
    return load_checkpoint()[0]


@pytest.fixture(scope="module")
def learned(clip: Any, released: ADNet) -> tuple[ADNet, list[tuple[float, float]]]:
    """The network that two frames were given to, and what it said about its progress."""
    source, right = clip
    said: list[tuple[float, float]] = []
    corrections = {name: right[name] for name in CORRECTED}
    network = adapt(released, source, corrections, SIZE, steps=20, progress=lambda *now: said.append(now))
    return network, said


def others(network: ADNet, source: VideoSource, right: dict[str, Mask]) -> float:
    """Mean J of the frames that nobody corrected."""
    frames = [frame.image for frame in source.frames()]
    probabilities = VideoSegmenter(network, Protocol("one"), SIZE).segment(frames)
    scores = {n: region_similarity(p > 0.5, right[n]) for n, p in zip(right, probabilities, strict=True)}
    return float(np.mean([score for name, score in scores.items() if name not in CORRECTED]))


def test_frames_that_nobody_corrected_are_better(clip: Any, released: ADNet, learned: Any) -> None:
    before, after = others(released, *clip), others(learned[0], *clip)
    assert after > before + 0.1


def test_the_encoders_stay_as_they_are_and_so_does_what_was_given(released: ADNet, learned: Any) -> None:
    assert released.motion is not None
    given, network = load_checkpoint()[0].state_dict(), learned[0].state_dict()
    assert all(torch.equal(value, given[name]) for name, value in released.state_dict().items())
    changed = {name for name, value in network.items() if not torch.equal(value, given[name])}
    parts = {".".join(name.split(".")[: 2 if name[0] in "em" else 1]) for name in changed}
    assert parts == {"encoder.aspp", "encoder.project", "motion.aspp", "motion.project", "head", "decoder"}


def test_the_same_seed_gives_the_same_weights(clip: Any, released: ADNet) -> None:
    source, right = clip
    first, again, other = (
        adapt(released, source, {"00004": right["00004"]}, (65, 113), steps=4, seed=seed).state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


def test_progress_ends_at_one_with_nothing_left(learned: Any) -> None:
    shares = [share for share, _ in learned[1]]
    assert shares == sorted(shares)
    assert (shares[-1], learned[1][-1][1]) == (1, 0)
    assert all(left > 0 for share, left in learned[1] if share < 1)


def test_a_mask_without_foreground_says_that_nothing_is_there(clip: Any, released: ADNet) -> None:
    source, right = clip
    nothing = np.zeros_like(right["00004"])
    network = adapt(released, source, {"00000": right["00000"], "00004": nothing}, SIZE, steps=20)
    frames = [frame.image for frame in source.frames()]
    segmented = [
        list(VideoSegmenter(model, Protocol("one"), SIZE).segment(frames))[4].mean() for model in (released, network)
    ]
    assert segmented[1] < segmented[0] / 2


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda masks: {name: np.zeros_like(mask) for name, mask in masks.items()},
            "no mask has foreground",
        ),
        (lambda masks: {"00009": masks["00000"]}, "has no frame 00009, of which there is a mask"),
        (
            lambda masks: {"00004": masks["00004"][:48]},
            "the mask of frame 00004 is 160x48, the frame 160x96: redraw it",
        ),
    ],
)
def test_masks_that_fit_no_frame_are_one_line(
    clip: Any, released: ADNet, change: Callable[[dict[str, Mask]], dict[str, Mask]], line: str
) -> None:
    source, right = clip
    with pytest.raises(UserError, match=line):
        adapt(released, source, change({name: right[name] for name in CORRECTED}), SIZE, steps=1)


def test_inverted_corrections_are_noticed(clip: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, right = clip
    for name in CORRECTED:
        write_mask(tmp_path / f"{name}.png", ~right[name])
    read_corrections(source, tmp_path)
    assert "are they inverted?" in caplog.text
    caplog.clear()
    write_mask(tmp_path / f"{CORRECTED[0]}.png", right[CORRECTED[0]])
    read_corrections(source, tmp_path)
    assert not caplog.text
