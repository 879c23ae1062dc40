from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adnet.data.augmentation import Augmentation, FlowAugmentation
from adnet.data.flow import OpticalFlow, SequenceFlow, to_flow_input
from adnet.data.flow_folder import FlowFolder
from adnet.data.masks import write_mask
from adnet.data.pairs import TrainingPairs
from adnet.data.sequence import Sequence, VideoDataset, annotated_frames
from adnet.data.still_motion import moved_apart
from adnet.errors import UserError

AS_IT_IS = FlowAugmentation(drop=0, reverse=0, scale=(0, 0), noise=0)


def textured(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Smoothed noise, which optical flow can follow."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[0] // 4, size[1] // 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(noise).resize(size[::-1], Image.Resampling.BICUBIC))


def square(size: tuple[int, int] = (240, 320)) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[80:170, 110:210] = True
    return mask


def still(folder: Path) -> VideoDataset:
    Image.fromarray(textured(0)).save(folder / "a.png")
    write_mask(folder / "mask" / "a.png", square())
    sequence = Sequence("a", (folder / "a.png",), {"a": folder / "mask" / "a.png"})
    return VideoDataset("stills", "train", folder, (sequence,), scored=annotated_frames)


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_between_the_two_frames_shows_the_object(seed: int) -> None:
    frame, before = moved_apart(textured(seed), square(), np.random.default_rng(seed))
    assert frame.shape == before.shape == (240, 320, 3)
    assert frame.dtype == before.dtype == np.uint8
    lengths = np.linalg.norm(OpticalFlow()(frame, before).astype(float), axis=-1)
    inside, outside = square(), ~square()
    inside[:90], inside[160:], inside[:, :120], inside[:, 200:] = (False,) * 4
    outside[50:200, 80:240] = False
    assert np.median(lengths[inside]) > 3 * np.median(lengths[outside])


def test_a_large_still_is_reduced_and_an_empty_mask_moves_the_camera_alone() -> None:
    frame, before = moved_apart(textured(1, (480, 640)), np.zeros((480, 640), bool), np.random.default_rng(0))
    assert frame.shape == before.shape == (240, 320, 3)
    assert not np.array_equal(frame, before)
    assert OpticalFlow()(frame, before)[40:-40, 40:-40].mean() == pytest.approx(0, abs=10)


def test_a_mask_that_covers_everything_moves_as_a_whole() -> None:
    frame, before = moved_apart(textured(2), np.ones((240, 320), bool), np.random.default_rng(0))
    assert frame.shape == before.shape


def test_the_share_of_stills_that_move(tmp_path: Path) -> None:
    flow, augmentation = SequenceFlow(OpticalFlow()), Augmentation((33, 57), rotate=False)

    def moving(share: float) -> list[bool]:
        pairs = TrainingPairs(
            still(tmp_path), 20, augmentation, 0, flow=flow, flow_augmentation=AS_IT_IS, still_motion=share
        )
        rest = to_flow_input(np.zeros((33, 57, 2)))
        return [not np.array_equal(pairs[index]["flow"], rest) for index in range(20)]

    assert not any(moving(0))
    assert all(moving(1))
    assert 4 <= sum(moving(0.5)) <= 16


def test_flow_from_files_cannot_be_made_for_stills(tmp_path: Path) -> None:
    flow = SequenceFlow(FlowFolder(tmp_path))
    with pytest.raises(UserError, match=r"pairs\.still_motion moves images apart"):
        TrainingPairs(still(tmp_path), 1, Augmentation((33, 57)), 0, flow=flow, still_motion=0.5)
