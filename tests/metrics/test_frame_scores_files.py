from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adnet.errors import UserError
from adnet.metrics.frame_scores import find_predictions, guess_kind, read_prediction, threshold, to_probability

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
MASK = RAMP > 100


def save(path: Path, array: np.ndarray, palette: bool = False) -> Path:
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:  # by its name, NumPy would add a suffix
            np.save(file, array)
    else:
        image = Image.fromarray(array)
        if palette:
            image.putpalette([255, 255, 255] * 256)
        image.save(path)
    return path


def kind(tmp_path: Path, *arrays: np.ndarray, suffix: str = ".png", palette: bool = False) -> tuple[str, str]:
    return guess_kind([save(tmp_path / f"{i}{suffix}", array, palette) for i, array in enumerate(arrays)])


@pytest.mark.parametrize(
    ("array", "suffix", "read"),
    [
        (MASK, ".png", MASK),
        (RAMP, ".png", RAMP),
        (RAMP * np.uint16(257), ".png", RAMP * np.uint16(257)),
        (np.stack([RAMP] * 3, -1), ".png", RAMP),  # grey in three channels
        (np.stack([MASK * np.uint8(128), 0 * RAMP, 0 * RAMP], -1), ".png", MASK),  # the colour of an object
        (MASK, ".npy", MASK),
        (MASK, ".NPY", MASK),
        (RAMP, ".npy", RAMP),
        (RAMP[None] / 255, ".npy", RAMP / 255),
        ((RAMP[None, :, :, None] / 255).astype(np.float16), ".npy", (RAMP / 255).astype(np.float16)),
    ],
)
def test_reads_what_lies_in_the_file(tmp_path: Path, array: np.ndarray, suffix: str, read: np.ndarray) -> None:
    found = read_prediction(save(tmp_path / f"a{suffix}", array))
    assert found.dtype == read.dtype
    np.testing.assert_array_equal(found, read)


def test_a_palette_of_one_colour_is_read_by_index(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_prediction(save(tmp_path / "a.png", MASK.astype(np.uint8), True)), MASK)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 6, 8)), np.zeros(8), np.zeros((6, 8), np.int64), np.zeros((6, 8), "<U1")]
)
def test_another_array_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"a\.npy holds .*; give \[H, W\] of bool, uint8, uint16 or float"):
        read_prediction(save(tmp_path / "a.npy", array))


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", [".npy", ".png"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read the .*a\{suffix}: .*; replace the file") as caught:
        read_prediction(tmp_path / f"a{suffix}")
    assert "\n" not in str(caught.value)


def test_objects_in_an_array_are_never_run(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"cannot read the array .*a\.npy"):
        read_prediction(tmp_path / "a.npy")


def test_two_files_of_one_frame_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", RAMP)
    assert find_predictions(tmp_path) == {"a": tmp_path / "a.png"}
    save(tmp_path / "a.npy", RAMP)
    with pytest.raises(UserError, match=r"a\.png and a\.npy are the same frame: keep one"):
        find_predictions(tmp_path)


@pytest.mark.parametrize("top", [1, 38, 255])
def test_one_value_besides_0_is_a_mask(tmp_path: Path, top: int) -> None:
    mask = MASK * np.uint8(top)
    assert kind(tmp_path, mask, ~MASK * np.uint8(top)) == ("masks", f"one grey value besides 0: {top}")
    assert kind(tmp_path, mask, suffix=".npy")[0] == "masks"


def test_what_is_a_mask_by_its_form(tmp_path: Path) -> None:
    assert kind(tmp_path, MASK) == ("masks", "labels")
    assert kind(tmp_path, RAMP % 4, palette=True) == ("masks", "labels")
    assert kind(tmp_path, 0 * RAMP) == ("masks", "nothing but 0")


def test_what_is_a_probability_map(tmp_path: Path) -> None:
    assert kind(tmp_path, RAMP) == ("probabilities", "47 grey values")
    assert kind(tmp_path, RAMP * np.uint16(257)) == ("probabilities", "47 grey values")
    assert kind(tmp_path, MASK.astype(np.float32), suffix=".npy") == ("probabilities", "floats")
    assert kind(tmp_path, MASK * np.uint8(255), RAMP)[0] == "probabilities"  # one frame may be sure of everything


@pytest.mark.parametrize("arrays", [(RAMP % 3,), (MASK * np.uint8(1), MASK * np.uint8(255)), (RAMP // 12,)])
def test_few_values_may_be_either(tmp_path: Path, arrays: tuple[np.ndarray, ...]) -> None:
    with pytest.raises(
        UserError, match=r"grey values 1, .* may be labels of objects or probabilities: give kind=masks or"
    ):
        kind(tmp_path, *arrays)


def test_a_mixture_is_refused(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", MASK), save(tmp_path / "b.npy", RAMP / 255)]
    with pytest.raises(UserError, match=r"masks \(labels\) and probability maps \(floats\) are mixed"):
        guess_kind(paths)


def test_maps_are_cut_above_one_half(tmp_path: Path) -> None:
    for values in (np.array([[127, 128]], np.uint8), np.array([[32767, 32768]], np.uint16), np.array([[0.5, 0.50001]])):
        assert threshold(to_probability(values, tmp_path)).tolist() == [[False, True]]
    assert threshold(to_probability(MASK, tmp_path)).tolist() == MASK.tolist()


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_no_probabilities(value: float) -> None:
    with pytest.raises(UserError, match=r"a\.npy has values from"):
        to_probability(np.array([[0.5, value]]), Path("a.npy"))
