"""What is kept of corrections, whatever the browser sends. That the network learns them is shown in test_page.py."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from videos import InstantModel, pictures, write_video

from adnet.app.corrections import Corrections
from adnet.app.segmentation import Network, Segmentation
from adnet.data.masks import write_mask
from adnet.data.pictures import read_frame
from adnet.errors import UserError
from adnet.inference.protocol import Protocol
from adnet.training.adaptation import MOST
from adnet.video.file import VideoFile

CORNER = np.pad(np.ones((24, 40), bool), ((0, 24), (0, 40)))


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    """Of a video of 3 frames, nothing corrected yet."""
    clip = VideoFile("clip", write_video(tmp_path / "clip.mp4", pictures(3)))
    network = Network(InstantModel(), Protocol("single_scale"), (33, 57), tmp_path / "tiny.ckpt")
    segmentation = Segmentation(network, clip, tmp_path / "maps")
    segmentation.segment()
    (tmp_path / "corrections").mkdir()
    return Corrections(segmentation, tmp_path / "corrections")


def drawn(mask: np.ndarray, kind: str = "PNG") -> str:
    """As a canvas gives it."""
    content = BytesIO()
    Image.fromarray(np.repeat(mask[..., None], 4, axis=2).astype(np.uint8) * 255).save(content, format=kind)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def test_a_drawing_is_kept_shown_again_and_discarded(corrections: Corrections, tmp_path: Path) -> None:
    made = corrections.segmentation.mask(1, 0.5)
    shown = corrections.show(1, 0.5, tmp_path)
    assert shown["corrected"] is False
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png"))[..., 3] > 0, made)
    np.testing.assert_array_equal(read_frame(tmp_path / "frame.png"), corrections.segmentation.frame(1).image)
    assert not np.array_equal(made, CORNER)

    corrections.keep({**shown, "drawn": drawn(CORNER)})
    assert list(corrections.masks()) == ["00001"]
    np.testing.assert_array_equal(corrections.masks()["00001"], CORNER)
    assert corrections.show(1, 0.5, tmp_path)["corrected"] is True
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "mask.png"))[..., 3] > 0, CORNER)

    corrections.keep({**shown, "drawn": drawn(CORNER & False)})
    assert not corrections.masks()["00001"].any()  # nothing is there
    corrections.discard(1)
    assert corrections.masks() == {}


@pytest.mark.parametrize(
    "edited",
    [
        None,
        "x",
        [1],
        {},
        {"frame": 1},
        {"drawn": drawn(CORNER)},
        {"frame": 3, "drawn": "x"},
        {"frame": -1, "drawn": "x"},
    ],
)
def test_what_is_no_drawing_is_left_out(corrections: Corrections, edited: Any) -> None:
    corrections.keep(edited)
    assert corrections.masks() == {}


@pytest.mark.parametrize(
    ("drawing", "said"),
    [
        (drawn(CORNER[:40]), "the drawing is 80x40, the frame 80x48: draw it again"),
        (drawn(CORNER, "WEBP"), "the drawing can't be read: draw it again"),
        (drawn(CORNER)[:60], "the drawing can't be read: draw it again"),
        ("data:image/png;base64,", "the drawing can't be read: draw it again"),
    ],
)
def test_drawings_that_do_not_fit_are_refused(corrections: Corrections, drawing: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        corrections.keep({"frame": 1, "drawn": drawing})
    assert corrections.masks() == {}


def test_a_frame_that_there_is_not_is_said_to_be_so(corrections: Corrections, tmp_path: Path) -> None:
    for index in (-1, 3):
        with pytest.raises(UserError, match=f"clip has no frame {index}"):
            corrections.show(index, 0.5, tmp_path)


def test_more_than_can_be_learned_are_refused(corrections: Corrections) -> None:
    for number in range(1, MOST + 1):
        write_mask(corrections.folder / f"{number:05d}.png", CORNER)
    corrections.keep({"frame": 2, "drawn": drawn(CORNER & False)})  # one of them
    assert not corrections.masks()["00002"].any()
    with pytest.raises(UserError, match=f"{MOST} frames are corrected, and more can't be learned"):
        corrections.keep({"frame": 0, "drawn": drawn(CORNER)})


def test_nothing_corrected_is_nothing_to_learn(corrections: Corrections, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is corrected yet: draw on a frame"):
        corrections.learn(0.5, tmp_path, lambda _done, _left: None)
