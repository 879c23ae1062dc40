from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from adnet.data.sequence import Sequence, image_size, read_frame, read_mask, write_mask
from adnet.errors import UserError

MASK = np.zeros((6, 9), dtype=bool)
MASK[1:4, 2:7] = True


def palette(mask: np.ndarray) -> Image.Image:
    """Label 1 is black and label 0 white: read by colour, the mask would be inverted."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0])
    return image


def colours(mask: np.ndarray, *values: int) -> Image.Image:
    background = (0, 0, 0, 255)[: len(values)]
    return Image.fromarray(np.where(mask[..., None], values, background).astype(np.uint8))


MODES: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "1": Image.fromarray,
    "L 0/1": lambda mask: Image.fromarray(mask.astype(np.uint8)),
    "L 0/255": lambda mask: Image.fromarray(mask.astype(np.uint8) * 255),
    "LA": lambda mask: Image.merge(
        "LA", [Image.fromarray(mask.astype(np.uint8) * 9), Image.new("L", mask.shape[::-1], 255)]
    ),
    "P": palette,
    "RGB": lambda mask: colours(mask, 0, 0, 128),
    "RGBA": lambda mask: colours(mask, 0, 7, 0, 0),
    "I;16": lambda mask: Image.fromarray(mask.astype(np.uint16) * 256),  # the low byte is 0
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mask", [MASK, np.zeros_like(MASK), np.ones_like(MASK)], ids=["some", "empty", "full"])
def test_mask_of_any_png_mode(tmp_path: Path, mode: str, mask: np.ndarray) -> None:
    file = tmp_path / "mask.png"
    MODES[mode](mask).save(file)
    with Image.open(file) as image:
        assert image.mode == mode.split()[0]
    read = read_mask(file)
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask)


def test_regions_name_the_background(tmp_path: Path) -> None:
    labels = np.array([[200, 7], [3, 9]], dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "mask.pgm")
    read = read_mask(tmp_path / "mask.pgm", (200, 7, 3))
    np.testing.assert_array_equal(read, [[False, True], [True, False]])  # 9 is none of them
    with pytest.raises(UserError, match=r"mask\.pgm has none of the labels that its dataset lists for it \(0, 255\)"):
        read_mask(tmp_path / "mask.pgm", (0, 255))


def test_regions_of_24_bits_are_colours(tmp_path: Path) -> None:
    labels = np.array([[[255, 255, 255], [0, 0, 255]], [[1, 0, 0], [0, 0, 0]]], dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "mask.ppm")
    read = read_mask(tmp_path / "mask.ppm", (0xFFFFFF, 0x0000FF, 0x010000, 0))
    np.testing.assert_array_equal(read, [[False, True], [True, True]])


def test_frame_is_rgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "colour.png"), pixels)
    np.testing.assert_array_equal(read_frame(tmp_path / "grey.png"), pixels[..., [0, 0, 0]])
    assert image_size(tmp_path / "colour.png") == (5, 7)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_reduced_jpeg_is_a_mean_over_its_pixels(tmp_path: Path, reduction: int) -> None:
    rows, columns = np.mgrid[:64, :96]
    pixels = np.stack([120 + 100 * np.sin(rows / 9 + columns / k) for k in (7, 11, 13)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "frame.jpg", quality=95, subsampling=0)
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    means = pixels.reshape(64 // reduction, reduction, 96 // reduction, reduction, 3).mean(axis=(1, 3))
    assert np.abs(read_frame(tmp_path / "frame.jpg", reduction) - means).mean() < 2
    np.testing.assert_array_equal(read_frame(tmp_path / "frame.png", reduction), pixels)


@pytest.mark.parametrize("read", [read_frame, read_mask, image_size])
def test_missing_image_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(UserError, match=r"absent\.png: it does not exist"):
        read(tmp_path / "absent.png")


@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_truncated_image_is_named_wherever_it_was_cut(tmp_path: Path, format_: str) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format_)
    whole, file = buffer.getvalue(), tmp_path / "cut.image"
    # A decoder may have all the pixels before the trailer.
    for length in range(0, len(whole) - 20, 7):
        file.write_bytes(whole[:length])
        for read in (read_frame, read_mask):
            with pytest.raises(UserError, match=r"cut\.image") as caught:
                read(file)
            assert "\n" not in str(caught.value)


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "00000.png").write_text("not an image")
    for read in (read_frame, read_mask, image_size):
        with pytest.raises(UserError, match=r"00000\.png"):
            read(tmp_path / "00000.png")


@settings(max_examples=25)
@given(mask=hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_written_masks_are_0_and_255(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
    file = tmp_path_factory.mktemp("masks") / "new folder" / "00000.png"
    write_mask(file, mask)
    with Image.open(file) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))
    assert [path.name for path in file.parent.iterdir()] == ["00000.png"]
    np.testing.assert_array_equal(read_mask(file), mask)


def test_interrupted_write_keeps_the_former_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "00000.png"
    write_mask(file, MASK)

    def half(_: Image.Image, target: Any, **__: Any) -> None:
        target.write_bytes(b"\x89PNG")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="disk full"):
        write_mask(file, ~MASK)
    np.testing.assert_array_equal(read_mask(file), MASK)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.png"]


def test_an_image_that_says_to_be_of_gigapixels_is_one_line(tmp_path: Path) -> None:
    write_mask(tmp_path / "large.png", MASK)
    content = bytearray((tmp_path / "large.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "large.png").write_bytes(content)
    for read in (read_mask, read_frame, image_size):
        with pytest.raises(UserError, match=r"cannot read the image .*large\.png: .*decompression bomb"):
            read(tmp_path / "large.png")


@given(st.integers(0, 5))
def test_annotation_is_found_by_the_stem(index: int) -> None:
    sequence = Sequence("a", tuple(Path(f"{i:05d}.jpg") for i in range(6)), {"00002": Path("nowhere/00002.png")})
    with pytest.raises(UserError if index == 2 else KeyError):
        sequence.annotation(sequence.frames[index])
