from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, DistributedSampler

from adnet.data import davis2016
from adnet.data.augmentation import Augmentation, Augmented, FlowAugmentation
from adnet.data.flow import OpticalFlow, SequenceFlow, to_flow_input
from adnet.data.masks import write_mask
from adnet.data.pairs import TrainingPair, TrainingPairs, ValidationPairs, to_tensor
from adnet.data.pictures import read_frame
from adnet.data.videos import Video, VideoDataset
from adnet.errors import UserError
from adnet.models.adnet import no_motion

FRAMES = 5


class Identity(Augmentation):
    def __init__(self) -> None:
        super().__init__((8, 8))
        self.masks: list[np.ndarray] = []

    def __call__(
        self,
        read: Callable[[int], np.ndarray],
        mask: np.ndarray,
        _: np.random.Generator,
        flow: np.ndarray | None = None,
    ) -> Augmented:
        self.masks.append(mask)
        return Augmented(read(1), mask, None if flow is None else flow.astype(np.float32))


@pytest.fixture
def numbered(tmp_path: Path) -> VideoDataset:
    """Three sequences whose frame t of sequence s has the colour 10 s + t, and a mask that begins at column t."""
    sequences = []
    for s in range(3):
        frames, annotations = [], {}
        for t in range(FRAMES):
            path = tmp_path / str(s) / f"{t:05d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (10 * s + t,) * 3).save(path)
            mask = np.zeros((8, 8), dtype=bool)
            mask[:, t : t + 2] = True
            write_mask(tmp_path / f"masks-{s}" / path.name, mask)
            frames.append(path)
            annotations[path.stem] = tmp_path / f"masks-{s}" / path.name
        sequences.append(Video(str(s), tuple(frames), annotations))
    return VideoDataset("numbered", "train", tmp_path, tuple(sequences))


def drawn(pair: TrainingPair) -> tuple[int, int, int]:
    """Video, anchor and frame of a pair of `numbered`."""
    anchor, frame = (int(pair[name][0, 0, 0]) for name in ("anchor", "frame"))  # type: ignore[literal-required]
    assert anchor // 10 == frame // 10
    return anchor // 10, anchor % 10, frame % 10


def equal(a: TrainingPair, b: TrainingPair) -> bool:
    return all(torch.equal(a[name], b[name]) for name in ("anchor", "frame", "mask"))  # type: ignore[literal-required]


@pytest.fixture
def pairs(tiny_davis: Path) -> TrainingPairs:
    return TrainingPairs(davis2016(tiny_davis, "train"), 8, Augmentation((33, 57), flip=0.5, jitter=0.2), seed=3)


def test_a_pair_is_a_function_of_seed_and_index(pairs: TrainingPairs) -> None:
    stream = [pairs[index] for index in range(8)]
    for index in (7, 0, 3):  # any order
        assert equal(pairs[index], stream[index])
    later = TrainingPairs(pairs.dataset, 4, Augmentation((33, 57), flip=0.5, jitter=0.2), seed=3, start=4)
    assert all(equal(later[index], stream[4 + index]) for index in range(4))
    other = TrainingPairs(pairs.dataset, 8, pairs.augmentation, seed=4)
    assert not any(equal(other[index], stream[index]) for index in range(8))
    assert len({pair["frame"].numpy().tobytes() for pair in stream}) == 8


def test_shapes_and_dtypes(pairs: TrainingPairs) -> None:
    pair = pairs[0]
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in pair.items()} == {
        "anchor": (torch.uint8, (3, 33, 57)),
        "frame": (torch.uint8, (3, 33, 57)),
        "mask": (torch.bool, (33, 57)),
        "key": (torch.int64, (3,)),
    }
    assert len(pairs) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_do_not_change_the_stream(pairs: TrainingPairs, workers: int) -> None:
    loaded = list(DataLoader(pairs, batch_size=2, num_workers=workers))
    for step, batch in enumerate(loaded):
        for row in range(2):
            assert equal({name: tensor[row] for name, tensor in batch.items()}, pairs[2 * step + row])


def test_ranks_share_each_batch_of_the_stream(numbered: VideoDataset) -> None:
    pairs = TrainingPairs(numbered, 24, Identity(), seed=0)
    whole = [[drawn(pairs[index]) for index in range(start, start + 6)] for start in range(0, 24, 6)]
    ranks = []
    for rank in range(2):
        sampler = DistributedSampler(pairs, num_replicas=2, rank=rank, shuffle=False)
        loader = DataLoader(pairs, batch_size=3, sampler=sampler)
        ranks.append([[drawn({k: v[i] for k, v in batch.items()}) for i in range(3)] for batch in loader])
    for step, batch in enumerate(whole):
        assert Counter(batch) == Counter(ranks[0][step] + ranks[1][step])


def test_first_frame_is_the_anchor_and_every_other_one_the_frame(numbered: VideoDataset) -> None:
    pairs = TrainingPairs(numbered, 1200, Identity(), seed=0)
    counts = Counter(drawn(pairs[index]) for index in range(1200))
    assert set(counts) == {(s, 0, t) for s in range(3) for t in range(1, FRAMES)}
    # All twelve are equally likely: 100 times each, give or take five standard deviations.
    assert all(50 < count < 150 for count in counts.values())


def test_random_anchor_is_any_frame_but_the_frame(numbered: VideoDataset) -> None:
    pairs = TrainingPairs(numbered, 3000, Identity(), seed=0, anchor="random")
    counts = Counter(drawn(pairs[index]) for index in range(3000))
    assert set(counts) == {(s, a, t) for s in range(3) for a in range(FRAMES) for t in range(FRAMES) if a != t}
    assert all(15 < count < 90 for count in counts.values())  # 50 each


def test_each_frame_is_augmented_with_its_own_mask(numbered: VideoDataset) -> None:
    augmentation = Identity()
    pairs = TrainingPairs(numbered, 10, augmentation, seed=0, anchor="random")
    for index in range(10):
        _, anchor, frame = drawn(pair := pairs[index])
        columns = [int(np.flatnonzero(mask.any(axis=0))[0]) for mask in augmentation.masks[-2:]]
        assert columns == [anchor, frame]
        assert int(pair["mask"].any(dim=0).nonzero()[0]) == frame


def test_crops_of_anchor_and_frame_lie_around_their_own_foregrounds(tmp_path: Path) -> None:
    """The foreground jumps from the left edge to the right one: both crops hold it, and few hold both places."""
    names = []
    for t, left in enumerate((0, 90)):
        mask = np.zeros((60, 100), dtype=bool)
        mask[25:35, left : left + 10] = True
        pixels = np.zeros((60, 100, 3), dtype=np.uint8)
        pixels[25:35, :10, 0] = pixels[25:35, 90:, 1] = 255
        Image.fromarray(pixels).save(tmp_path / f"{t}.png")
        write_mask(tmp_path / "masks" / f"{t}.png", mask)
        names.append(tmp_path / f"{t}.png")
    sequence = Video("a", tuple(names), {path.stem: tmp_path / "masks" / path.name for path in names})
    augmentation = Augmentation((60, 100), min_crop=0.2, rotate=False)
    pairs = TrainingPairs(VideoDataset("a", "train", tmp_path, (sequence,)), 40, augmentation, seed=0)
    # Red marks the anchor's foreground and green that of the frame.
    shown = np.array(
        [
            [[bool((pair[n][c] > 127).any()) for c in (0, 1)] for n in ("anchor", "frame")]
            for pair in map(pairs.__getitem__, range(40))
        ]
    )
    assert shown[:, 0, 0].all()
    assert shown[:, 1, 1].all()
    assert shown[:, 0, 1].mean() < 0.5
    assert shown[:, 1, 0].mean() < 0.5


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [(5, 1, [2]), (5, 3, [1, 2, 3]), (9, 3, [2, 4, 6]), (2, 1, [1]), (2, 4, [1]), (5, 9, [1, 2, 3, 4])],
)
def test_validation_frames_are_others_than_the_anchor(
    numbered: VideoDataset, length: int, frames: int, expected: list[int]
) -> None:
    paths = tuple(numbered.sequences[0].frames[i % FRAMES] for i in range(length))
    sequence = Video("a", paths, {path.stem: path for path in paths})
    pairs = ValidationPairs(VideoDataset("a", "val", numbered.root, (sequence,)), frames)
    assert pairs.pairs == [(0, t) for t in expected]


def test_validation_pairs_are_whole_frames_with_their_key(tiny_davis: Path) -> None:
    dataset = davis2016(tiny_davis)
    pairs = ValidationPairs(dataset, 1)
    assert len(pairs) == 2
    for s, sequence in enumerate(dataset.sequences):
        pair = pairs[s]
        t = int(pair["key"][1])
        assert pair["key"].tolist() == [s, t]
        np.testing.assert_array_equal(pair["anchor"], to_tensor(read_frame(sequence.frames[0])))
        np.testing.assert_array_equal(pair["frame"].permute(1, 2, 0), read_frame(sequence.frames[t]))
        np.testing.assert_array_equal(pair["mask"], sequence.annotation(sequence.frames[t]))


def test_annotation_of_another_size_is_named(tiny_davis: Path) -> None:
    dataset = davis2016(tiny_davis, "train")
    for sequence in dataset.sequences:
        for file in sequence.annotations.values():
            write_mask(file, np.ones((32, 56), dtype=bool))
    with pytest.raises(UserError, match=r"00000\.jpg is 112x64 and .*00000\.png 56x32, both upright"):
        TrainingPairs(dataset, 1, Augmentation((33, 57)), seed=0)[0]


def test_reduced_frames_are_the_same_draw(tiny_davis: Path) -> None:
    """Crops a quarter of the frame's width: decoded at a reduced size or not, the masks and keys are equal."""
    reduced, full = (
        [TrainingPairs(davis2016(tiny_davis, "train"), 8, augmentation, seed=3)[index] for index in range(8)]
        for augmentation in (Augmentation((17, 25)), Augmentation((17, 25), reduced_decoding=False))
    )
    for a, b in zip(reduced, full, strict=True):
        assert torch.equal(a["mask"], b["mask"])
        assert torch.equal(a["key"], b["key"])
        assert (a["frame"].int() - b["frame"].int()).abs().float().mean() < 16
    assert any(not torch.equal(a["frame"], b["frame"]) for a, b in zip(reduced, full, strict=True))


@pytest.mark.parametrize("calm", [FlowAugmentation(drop=0, reverse=0, scale=(0, 0), noise=0), None])
def test_flow_comes_along_where_it_is_asked_for(tiny_davis: Path, calm: FlowAugmentation | None) -> None:
    """Unspoilt here, so that it is the frame's own; the anchor has none."""
    dataset = davis2016(tiny_davis, "train")
    flow = SequenceFlow(OpticalFlow())
    pairs = TrainingPairs(dataset, 4, Identity(), seed=0, flow=flow, flow_augmentation=calm)
    for pair in (pairs[index] for index in range(len(pairs))):
        s, _, frame = pair["key"].tolist()
        assert torch.equal(pair["flow"], to_flow_input(flow(dataset.sequences[s], frame).astype(np.float32)))
    assert "flow" not in TrainingPairs(dataset, 1, Identity(), seed=0)[0]
    first = ValidationPairs(dataset, 1, flow)[0]
    assert torch.equal(first["flow"], to_flow_input(flow(dataset.sequences[0], int(first["key"][1]))))
    assert "flow" not in ValidationPairs(dataset, 1)[0]


def test_dropped_flow_is_no_motion(tiny_davis: Path) -> None:
    dataset = davis2016(tiny_davis, "train")
    pairs = TrainingPairs(
        dataset,
        3,
        Augmentation((17, 25)),
        0,
        flow=SequenceFlow(OpticalFlow()),
        flow_augmentation=FlowAugmentation(drop=1),
    )
    for pair in (pairs[index] for index in range(len(pairs))):
        assert torch.equal(pair["flow"][None], no_motion(pair["frame"][None].float()))


def test_a_share_of_the_pairs_has_another_pair_s_foreground_on_both_frames(numbered: VideoDataset) -> None:
    """In `numbered`, a frame's colour is 10 s + t, and its foreground are the columns t and t + 1; a seam takes half of it."""
    plain, half, every = (TrainingPairs(numbered, 200, Identity(), seed=0, paste=share) for share in (0, 0.5, 1))
    for index in range(40):
        before, after = plain[index], every[index]
        assert equal(before, plain[index])
        assert torch.equal(before["key"], after["key"])
        assert (after["mask"] & before["mask"]).equal(before["mask"])
    changed = [not equal(plain[index], half[index]) for index in range(200)]
    assert 60 < sum(changed) < 140
    both = [
        bool(
            (plain[index]["anchor"] != every[index]["anchor"]).any()
            and (plain[index]["frame"] != every[index]["frame"]).any()
        )
        for index in range(200)
    ]
    assert sum(both) > 100  # a pair of the same video may paste what is there
    assert equal(every[7], TrainingPairs(numbered, 1, Identity(), seed=0, start=7, paste=1)[0])
