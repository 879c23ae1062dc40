from __future__ import annotations

import io
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin
from tiled_avif import write_tiled_avif
from videos import InstantModel

from adnet.app.segmentation import Bounded
from adnet.data import folder
from adnet.data.augmentation import Augmentation, Augmented
from adnet.data.masks import read_mask, write_mask
from adnet.data.pairs import TrainingPairs, ValidationPairs
from adnet.data.pictures import count_pictures, image_size, read_frame, read_frames, write_png
from adnet.data.videos import VideoDataset
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.evaluate_dataset import evaluate
from adnet.inference.predict_videos import anchor_frame
from adnet.metrics.frame_scores import FrameFiles, read_predicted_mask, score_frames
from adnet.training.adaptation import read_corrections
from adnet.video.sources import video_sources

MASK = np.zeros((6, 9), dtype=bool)
MASK[1:4, 2:7] = True


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


def test_an_image_that_says_to_be_of_gigapixels_is_one_line(tmp_path: Path) -> None:
    write_mask(tmp_path / "large.png", MASK)
    content = bytearray((tmp_path / "large.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "large.png").write_bytes(content)
    for read in (read_mask, read_frame, image_size):
        with pytest.raises(UserError, match=r"cannot read the image .*large\.png: .*decompression bomb"):
            read(tmp_path / "large.png")


PICTURE = np.random.default_rng(3).integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(3 * np.arange(48), np.arange(80)) + 20 * k for k in range(3)], -1).astype(np.uint8)

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""How a viewer turns what is stored, by EXIF's orientation."""


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    file, options = tmp_path / f"photo{suffix}", {"lossless": True} if suffix == ".webp" else {"quality": 95}
    Image.fromarray(SMOOTH).save(file, exif=oriented(orientation), **options)
    wanted = TURNS[orientation](SMOOTH)
    read = read_frame(file)
    assert read.shape == wanted.shape
    assert np.abs(read.astype(int) - wanted).mean() < (5 if suffix in (".jpg", ".avif") else 0.01)
    assert image_size(file) == read.shape[:2]
    half = read_frame(file, 2)
    if suffix == ".jpg":
        assert half.shape == (wanted.shape[0] // 2, wanted.shape[1] // 2, 3)
        assert np.abs(half.astype(int) - wanted[::2, ::2]).mean() < 8
    mask = np.zeros((48, 80), bool)
    mask[:10, :20] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, exif=oriented(orientation), **options)
    np.testing.assert_array_equal(read_mask(file), TURNS[orientation](mask))


def test_exif_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "PNG", exif=oriented(6))
    content = buffer.getvalue()
    start = content.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
    file = tmp_path / "photo.png"
    file.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    np.testing.assert_array_equal(read_frame(file), np.rot90(PICTURE, -1))
    assert image_size(file) == (40, 24)


def test_damaged_exif_data_leave_the_picture_as_stored(tmp_path: Path) -> None:
    for exif in (b"Exif\0\0rubbish", b"Exif\0\0", oriented(9).tobytes()):
        Image.fromarray(PICTURE).save(tmp_path / "photo.png", exif=exif)
        np.testing.assert_array_equal(read_frame(tmp_path / "photo.png"), PICTURE)
        assert image_size(tmp_path / "photo.png") == (24, 40)


DEEP = np.linspace(0, 65535, 24 * 40).astype(np.uint16).reshape(24, 40)


def write_deep(file: Path, values: np.ndarray) -> Path:
    if file.suffix == ".pgm":
        file.write_bytes(b"P5 40 24 65535\n" + values.astype(">u2").tobytes())
    elif values.ndim == 3:
        assert cv2.imwrite(str(file), values[..., ::-1])
    else:
        Image.fromarray(values).save(file)
    return file


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_of_16_bits_the_upper_8_are_read(tmp_path: Path, suffix: str) -> None:
    read = read_frame(write_deep(tmp_path / f"deep{suffix}", DEEP))
    np.testing.assert_array_equal(read, np.repeat(DEEP[..., None] >> 8, 3, axis=-1))
    if suffix != ".pgm":
        colours = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=-1)
        np.testing.assert_array_equal(read_frame(write_deep(tmp_path / f"colours{suffix}", colours)), colours >> 8)


def test_16_bits_where_white_is_0(tmp_path: Path) -> None:
    Image.fromarray(DEEP).save(tmp_path / "deep.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_frame(tmp_path / "deep.tif")[..., 0], (65535 - DEEP) >> 8)


@pytest.mark.parametrize("colour", [False, True])
def test_12_bits_in_16_are_refused_and_not_black(tmp_path: Path, colour: bool) -> None:
    values = DEEP >> 4
    values = np.stack([values, values, values], axis=-1) if colour else values
    with pytest.raises(UserError, match=r"dark\.png has 16 bits, but .*, as if of 12 bits: it would be black; scale"):
        read_frame(write_deep(tmp_path / "dark.png", values))
    assert not read_frame(write_deep(tmp_path / "black.png", 0 * values)).any()
    if colour:
        (tmp_path / "dark.ppm").write_bytes(b"P6 40 24 65535\n" + values.astype(">u2").tobytes())
        with pytest.raises(UserError, match=r"dark\.ppm has 16 bits, but .*, as if of 12 bits"):
            read_frame(tmp_path / "dark.ppm")


def test_floats_are_from_black_at_0_to_white_at_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 24 * 40).astype(np.float32).reshape(24, 40)
    Image.fromarray(values).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(read_frame(tmp_path / "float.tif")[..., 1], np.rint(255 * values))
    for other in (255 * values, values - 0.5, np.full_like(values, np.nan)):
        Image.fromarray(other).save(tmp_path / "float.tif")
        with pytest.raises(UserError, match=r"float\.tif has values from .* to .*: scale them to 0 to 1"):
            read_frame(tmp_path / "float.tif")
    Image.fromarray((1000 * values).astype(np.int32) - 5).save(tmp_path / "int.tif")
    with pytest.raises(UserError, match=r"int\.tif has values from -5 to 995: scale them to 0 to 65535"):
        read_frame(tmp_path / "int.tif")


def test_palettes_alpha_and_cmyk(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    few = (PICTURE // 128 * 255).astype(np.uint8)  # 8 colours
    indexed = Image.fromarray(few).quantize(8)
    indexed.save(tmp_path / "palette.png")
    indexed.save(tmp_path / "transparent.png", transparency=bytes([0, 128, 255]))
    Image.fromarray(np.dstack([few, PICTURE[..., 0]])).save(tmp_path / "alpha.png")
    for name in ("palette", "transparent", "alpha"):
        np.testing.assert_array_equal(read_frame(tmp_path / f"{name}.png"), few)
    ink = np.zeros((24, 40, 4), np.uint8)
    ink[:, :20, 0] = 255  # cyan; the rest is paper
    for suffix in (".jpg", ".tif"):
        Image.fromarray(ink, "CMYK").save(tmp_path / f"print{suffix}", quality=95)
        read = read_frame(tmp_path / f"print{suffix}").astype(int)
        assert np.abs(read[:, :16] - (0, 255, 255)).max() < 8
        assert np.abs(read[:, 24:] - 255).max() < 8
    assert not recwarn.list


def animation(file: Path, number: int = 3) -> list[np.ndarray]:
    """Write pictures with an object that moves; return them."""
    images = [np.roll(SMOOTH, 8 * k, axis=1) for k in range(number)]
    first, *others = map(Image.fromarray, images)
    options = {"lossless": True} if file.suffix == ".webp" else {"quality": 95}
    first.save(file, save_all=True, append_images=others, duration=200, **options)
    return images


SEVERAL = [".webp", ".png", ".apng", ".avif", ".tif", ".gif"]


@pytest.mark.parametrize("suffix", SEVERAL)
def test_several_pictures_are_all_read_or_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"several{suffix}"
    if suffix == ".apng":
        animation(file.with_suffix(".png"))
        file.with_suffix(".png").rename(file)
    images = [np.roll(SMOOTH, 8 * k, axis=1) for k in range(3)] if suffix == ".apng" else animation(file)
    frames = list(read_frames(file))
    assert count_pictures(file) == len(frames) == 3
    for (frame, seconds), image in zip(frames, images, strict=True):
        assert np.abs(frame.astype(int) - image).mean() < (12 if suffix == ".gif" else 4)
        assert seconds == (None if suffix == ".tif" else pytest.approx(0.2, abs=0.01))
    for read in (read_frame, read_mask, image_size):
        with pytest.raises(UserError, match=rf"several\{suffix} holds 3 pictures, where one is needed"):
            read(file)


def test_a_thumbnail_in_a_tiff_is_no_picture(tmp_path: Path) -> None:
    small = Image.fromarray(SMOOTH[::4, ::4])
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(SMOOTH).save(tmp_path / "photo.tif", save_all=True, append_images=[small])
    with Image.open(tmp_path / "photo.tif") as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(read_frame(tmp_path / "photo.tif"), SMOOTH)
    assert image_size(tmp_path / "photo.tif") == (48, 80)
    assert count_pictures(tmp_path / "photo.tif") == 1


def write_tiff(file: Path, *pages: tuple[np.ndarray, dict[int, int | str]]) -> Path:
    """Write a TIFF of pages `[H, W]` or `[H, W, 3]`, and `[3, H, W]` where tag 284 is 2, with these and other tags."""
    content, link = b"II*\0" + bytes(4), 4
    for pixels, extra in pages:
        planes = 3 if extra.get(284) == 2 else 1
        height, width, *channels = pixels.shape if planes == 1 else (*pixels.shape[1:], 3)
        count, bits = (channels or [1])[0], 8 * pixels.itemsize
        size = pixels.nbytes // planes
        tags: dict[int, list[int] | str] = {
            256: [width], 257: [height], 258: [bits] * count, 259: [1], 262: [2 if channels else 1], 277: [count], 278: [height],
            279: [size] * planes, 273: [len(content) + size * plane for plane in range(planes)],
        }  # fmt: skip
        tags |= {tag: value if isinstance(value, str) else [value] for tag, value in extra.items()}
        content += pixels.tobytes()
        fields = b""
        for tag, value in sorted(tags.items()):
            data = value.encode() + b"\0" if isinstance(value, str) else struct.pack(f"<{len(value)}I", *value)
            number = len(data) if isinstance(value, str) else len(value)
            if len(data) > 4:
                place, content = len(content), content + data
                data = struct.pack("<I", place)
            fields += struct.pack("<HHI", tag, 2 if isinstance(value, str) else 4, number) + data.ljust(4, b"\0")
        content = content[:link] + struct.pack("<I", len(content)) + content[link + 4 :]
        content += struct.pack("<H", len(tags)) + fields + bytes(4)
        link = len(content) - 4
    file.write_bytes(content)
    return file


def test_a_preview_before_the_picture_of_a_tiff(tmp_path: Path) -> None:
    file = write_tiff(tmp_path / "scan.tif", (SMOOTH[::4, ::4].copy(), {254: 1}), (SMOOTH, {254: 0}))
    np.testing.assert_array_equal(read_frame(file), SMOOTH)
    ((frame, _),) = read_frames(file)
    np.testing.assert_array_equal(frame, SMOOTH)
    assert image_size(file) == (48, 80)
    assert count_pictures(file) == 1


@pytest.mark.parametrize(
    ("pixels", "tags", "reason"),
    [
        (SMOOTH, {254: 1, 330: 8}, "holds only a preview of its picture, as a camera's raw files do"),
        (SMOOTH[..., 0].copy(), {270: "ImageJ=1.54f\nimages=4\nframes=4\n"}, "is a stack that only ImageJ can read"),
        (np.moveaxis(SMOOTH, -1, 0).astype(np.uint16) * 257, {284: 2}, "has planes of 16 bits for each colour"),
        (SMOOTH[..., 0].copy(), {339: 2}, "has signed numbers of 8 bits"),
    ],
)
def test_a_tiff_that_pillow_reads_as_something_else_is_refused(
    tmp_path: Path, pixels: np.ndarray, tags: dict[int, int | str], reason: str
) -> None:
    file = write_tiff(tmp_path / "odd.tif", (pixels, tags))
    for read in (read_frame, read_mask, image_size, lambda path: list(read_frames(path))):
        with pytest.raises(UserError, match=rf"odd\.tif {reason}, which is not read: write PNG, or TIFF with 8 bits"):
            read(file)
    plain = write_tiff(tmp_path / "plain.tif", (SMOOTH, {270: "ImageJ=1.54f\nimages=1\n", 254: 1}))
    np.testing.assert_array_equal(read_frame(plain), SMOOTH)


OME = (
    '<OME><Image><Pixels DimensionOrder="XYCZT" SizeC="{}" SizeT="{}" SizeX="80" SizeY="48" SizeZ="{}"/></Image></OME>'
)


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("ImageJ=1.54f\nimages=6\nchannels=2\nframes=3\nhyperstack=true\n", 6),
        ("ImageJ=1.54f\nimages=3\nchannels=3\nmode=composite\n", 3),
        ("ImageJ=1.54f\nimages=6\nslices=2\nframes=3\nhyperstack=true\n", 6),
        (OME.format(2, 3, 1), 6),
        (OME.format(3, 1, 1), 3),
        (OME.format(1, 3, 2), 6),
    ],
)
def test_a_stack_whose_pictures_are_not_of_one_time_each_is_refused(tmp_path: Path, text: str, pages: int) -> None:
    """As microscopes write it: as a video, its channels or its slices would follow each other."""
    grey = SMOOTH[..., 0].copy()
    file = write_tiff(tmp_path / "cells.tif", (grey, {270: text}), *((grey, {}),) * (pages - 1))
    with pytest.raises(UserError, match=r"cells\.tif is a stack of several channels, or of slices at several times"):
        list(read_frames(file))


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1.54f\nimages=3\nslices=3\n",
        "ImageJ=1.54f\nimages=3\nframes=3\n",
        OME.format(1, 3, 1),
        OME.format(1, 1, 3),
        "",
    ],
)
def test_a_stack_of_one_picture_at_a_time_is_a_video(tmp_path: Path, text: str) -> None:
    file = write_tiff(tmp_path / "cells.tif", (SMOOTH, {270: text}), (SMOOTH, {}), (SMOOTH, {}))
    assert len(list(read_frames(file))) == 3


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "it is empty"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "it is text"),
        ("phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "it is HEIC or a video: convert it to JPEG"),
        ("new.jpg", b"\xff\x0a" + bytes(99), "it is of no known format, or damaged"),
    ],
)
def test_what_is_no_picture_is_said_in_plain_words(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_frame, read_mask, image_size):
        with pytest.raises(UserError, match=rf"cannot read the image [^<]*{name}: {reason}; replace the file"):
            read(tmp_path / name)


def test_a_tiff_of_double_precision_is_named(tmp_path: Path) -> None:
    write_tiff(tmp_path / "double.tif", (np.zeros((4, 5)), {339: 3}))
    with pytest.raises(UserError, match=r"double\.tif: it is a TIFF of a kind that is not read: write 8 or 16 bits"):
        read_frame(tmp_path / "double.tif")


def test_a_png_whose_still_is_no_part_of_its_animation(tmp_path: Path) -> None:
    """Every command takes the animation, even if it is a single picture."""
    still, other = Image.fromarray(SMOOTH), Image.fromarray(SMOOTH[::-1].copy())
    still.save(tmp_path / "still.png", save_all=True, append_images=[other], default_image=True)
    np.testing.assert_array_equal(read_frame(tmp_path / "still.png"), SMOOTH[::-1])
    ((frame, _),) = read_frames(tmp_path / "still.png")
    np.testing.assert_array_equal(frame, SMOOTH[::-1])


def test_a_jpeg_with_a_second_picture_is_its_first(tmp_path: Path) -> None:
    """As phones write it: a gain map or a depth map follows."""
    Image.fromarray(SMOOTH).save(
        tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[Image.fromarray(SMOOTH[::2, ::2])], quality=95
    )
    with Image.open(tmp_path / "photo.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert np.abs(read_frame(tmp_path / "photo.jpg").astype(int) - SMOOTH).mean() < 4
    assert count_pictures(tmp_path / "photo.jpg") == 1


def test_a_tiled_avif_is_whole(tmp_path: Path) -> None:
    quarters = np.kron([[0, 1], [2, 3]], np.ones((128, 128), int))
    image = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [220, 220, 40]], np.uint8)[quarters]
    file = write_tiled_avif(tmp_path / "phone.avif", image)
    assert image_size(file) == (256, 256)
    assert np.abs(read_frame(file).astype(int) - image).mean() < 4


def test_heic_is_refused_in_one_line(tmp_path: Path) -> None:
    write_tiled_avif(tmp_path / "phone.heic", np.zeros((128, 128, 3), np.uint8))
    content = (tmp_path / "phone.heic").read_bytes().replace(b"avif", b"heic").replace(b"av01", b"hvc1")
    (tmp_path / "phone.heic").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read the image .*phone\.heic: .*; replace the file") as caught:
        read_frame(tmp_path / "phone.heic")
    assert "\n" not in str(caught.value)


class Seen(VideoSegmenter):
    """Keeps the frames that an evaluation gives it, and finds nothing in them."""

    def __init__(self) -> None:
        super().__init__(InstantModel(), Protocol("test"), (33, 57))
        self.frames: list[np.ndarray] = []

    def start(self, frame: np.ndarray, _: float = 1.0) -> None:
        self.frames.append(frame)

    def steps(self, frames: Iterable[np.ndarray], **_: Any) -> Iterator[np.ndarray]:
        for frame in frames:
            self.frames.append(frame)
            yield np.zeros(frame.shape[:2], np.float32)


class AsItIs(Augmentation):
    def __call__(self, read: Callable[[int], np.ndarray], mask: np.ndarray, *_: Any) -> Augmented:
        return Augmented(read(1), mask, None)


def laid_out(root: Path, name: str, frame: Path, mask: Path) -> VideoDataset:
    """A dataset of one sequence, of two frames that are copies, and so are their masks."""
    for part, file in (("frames", frame), ("masks", mask)):
        folder_of_one = root / name / part / "walk"
        folder_of_one.mkdir(parents=True)
        for stem in ("00000", "00001"):
            shutil.copy(file, folder_of_one / f"{stem}{file.suffix}")
    return folder(root / name)


def or_none(readers: dict[str, Callable[[], Any]]) -> dict[str, np.ndarray | None]:
    """What each reader reads; None where it refuses."""
    found: dict[str, np.ndarray | None] = {}
    for name, reader in readers.items():
        try:
            found[name] = np.asarray(reader())
        except UserError:
            found[name] = None
    return found


def from_every_reader(file: Path, root: Path) -> dict[str, np.ndarray | None]:
    """The picture as each command reads it; None where it is refused."""
    (root / "video").mkdir()
    shutil.copy(file, root / "video" / f"00000{file.suffix}")
    (source,) = video_sources(str(root / "video"))

    def dataset(name: str) -> VideoDataset:
        write_mask(root / "all.png", np.ones(image_size(file), bool))
        return laid_out(root, name, file, root / "all.png")

    def trained(pair: Any) -> np.ndarray:
        assert torch.equal(pair["anchor"], pair["frame"])
        assert pair["mask"].shape == pair["frame"].shape[1:]
        return pair["frame"].permute(1, 2, 0).numpy()  # type: ignore[no-any-return]

    def evaluated() -> np.ndarray:
        segmenter = Seen()
        evaluate(segmenter, dataset("evaluate"), root / "evaluation")
        assert len(segmenter.frames) == 3
        return np.unique(segmenter.frames, axis=0)[0]

    return or_none(
        {
            "predict": lambda: next(iter(source.frames())).image,
            "predict, one file": lambda: next(iter(video_sources(str(file))[0].frames())).image,
            "app": lambda: next(iter(Bounded(source, 9, 10**6, lambda: False).frames())).image,
            "anchor=": lambda: anchor_frame(source, str(file), np.zeros((1, 1, 3), np.uint8)),
            "train": lambda: trained(TrainingPairs(dataset("train"), 1, AsItIs((8, 8)), seed=0)[0]),
            "validation": lambda: trained(ValidationPairs(dataset("validation"), 1)[0]),
            "evaluate": evaluated,
        }
    )


MAKERS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "L": lambda pixels: Image.fromarray(pixels[..., 0]),
    "1": lambda pixels: Image.fromarray(pixels[..., 0] > 99),
    "RGB": Image.fromarray,
    "RGBA": lambda pixels: Image.fromarray(np.dstack([pixels, pixels[..., :1]])),
    "LA": lambda pixels: Image.fromarray(pixels[..., 0]).convert("LA"),
    "P": lambda pixels: Image.fromarray(pixels).quantize(9),
    "CMYK": lambda pixels: Image.fromarray(pixels).convert("CMYK"),
    "I;16": lambda pixels: Image.fromarray(pixels[..., 0] * np.uint16(257)),
    "12 in 16": lambda pixels: Image.fromarray(pixels[..., 0] * np.uint16(16)),
    "I": lambda pixels: Image.fromarray(pixels[..., 0].astype(np.int32) * 999),
    "F": lambda pixels: Image.fromarray((pixels[..., 0] / 255).astype(np.float32)),
    "F 255": lambda pixels: Image.fromarray(pixels[..., 0].astype(np.float32)),
}


@settings(max_examples=40)
@given(
    mode=st.sampled_from(sorted(MAKERS)),
    suffix=st.sampled_from([".png", ".jpg", ".tif", ".webp", ".bmp", ".avif", ".ppm"]),
    orientation=st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_every_command_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, mode: str, suffix: str, orientation: int, seed: int
) -> None:
    root = tmp_path_factory.mktemp("readers")
    image = MAKERS[mode](np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    try:
        image.save(root / f"one{suffix}", exif=oriented(orientation))
    except (OSError, KeyError, ValueError):  # the format has no such mode
        assume(False)
    wanted, *others = from_every_reader(root / f"one{suffix}", root).values()
    for other in others:
        assert (other is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(other, wanted)
    if mode in ("12 in 16", "I", "F 255") and suffix in (".png", ".tif") and wanted is not None:
        assert wanted.max() > 16


MASK_MAKERS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "L": lambda mask: Image.fromarray(mask * np.uint8(255)),
    "labels": lambda mask: Image.fromarray(mask * np.uint8(3)),
    "soft": lambda mask: Image.fromarray(cv2.GaussianBlur(mask * np.uint8(255), (0, 0), 1)),
    "1": Image.fromarray,
    "P": lambda mask: Image.fromarray(mask * np.uint8(255)).quantize(2),
    "RGB": lambda mask: Image.fromarray(np.where(mask[..., None], (0, 0, 128), 0).astype(np.uint8)),
    "RGBA": lambda mask: Image.fromarray(np.dstack([PICTURE[:20, :30], mask * np.uint8(255)])),
    "I;16": lambda mask: Image.fromarray(mask * np.uint16(256)),
    "I": lambda mask: Image.fromarray(mask * np.int32(70000)),
    "F": lambda mask: Image.fromarray(mask.astype(np.float32)),
    "photo": lambda _: Image.fromarray(PICTURE[:20, :30]),
}


@settings(max_examples=40)
@given(
    mode=st.sampled_from(sorted(MASK_MAKERS)),
    suffix=st.sampled_from([".png", ".jpg", ".tif", ".webp", ".bmp", ".avif"]),
    orientation=st.integers(1, 8),
    box=st.tuples(st.integers(0, 10), st.integers(0, 15), st.integers(4, 10), st.integers(4, 15)),
)
def test_every_command_reads_a_mask_the_same(
    tmp_path_factory: pytest.TempPathFactory, mode: str, suffix: str, orientation: int, box: tuple[int, int, int, int]
) -> None:
    root = tmp_path_factory.mktemp("masks")
    mask = np.zeros((20, 30), bool)
    mask[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = True
    file, frame = root / f"one{suffix}", root / "frame.png"
    try:
        MASK_MAKERS[mode](mask).save(file, exif=oriented(orientation))
    except (OSError, KeyError, ValueError):  # the format has no such mode
        assume(False)
    write_png(frame, np.zeros((*image_size(file), 3), np.uint8))
    dataset = laid_out(root, "data", frame, file)
    (source,) = video_sources(str(root / "data" / "frames" / "walk"))

    def scored(prediction: Path, annotation: Path) -> float:
        ((score,), _) = score_frames([FrameFiles(prediction, None, annotation)], "masks", sampled=False)
        return score.J

    found = or_none(
        {
            "train": lambda: TrainingPairs(dataset, 1, AsItIs((8, 8)), seed=0)[0]["mask"],
            "validation": lambda: ValidationPairs(dataset, 1)[0]["mask"],
            "evaluate": lambda: dataset.sequences[0].annotation(dataset.sequences[0].frames[0]),
            "adapt": lambda: read_corrections(source, root / "data" / "masks" / "walk")["00000"],
            "score, predictions": lambda: scored(file, file) and read_predicted_mask(file),
        }
    )
    wanted, *others = found.values()
    for other in others:
        assert (other is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(other, wanted)
    if wanted is not None:
        write_mask(root / "as_read.png", wanted)
        assert scored(file, root / "as_read.png") == scored(root / "as_read.png", file) == 1


@pytest.mark.parametrize(("suffix", "options"), [
    (".tif", {"compression": "tiff_lzw"}), (".tif", {"compression": "tiff_adobe_deflate"}), (".tif", {"compression": "zstd"}),
    (".tif", {"compression": "packbits"}), (".tif", {"compression": "jpeg", "quality": 100}), (".tif", {"big_tiff": True}),
    (".tif", {"tiffinfo": {278: 5}}), (".tga", {}), (".jp2", {}), (".bmp", {}),
    (".png", {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()}),
    (".png", {"pnginfo": "long"}),
], ids=lambda given: given if isinstance(given, str) else " ".join(given))  # fmt: skip
def test_other_ways_to_store_a_picture(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    """Whatever the file is called, and with colour profiles and texts of any length left out."""
    if options.get("pnginfo"):
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_text("parameters", "a dog " * 400_000, zip=True)
    Image.fromarray(SMOOTH).save(tmp_path / f"picture{suffix}", **options)
    tolerance = 4 if "quality" in options else 0
    for name in (f"picture{suffix}", "picture.jpg"):
        read = read_frame((tmp_path / f"picture{suffix}").rename(tmp_path / name))
        assert np.abs(read.astype(int) - SMOOTH).max() <= tolerance
        (tmp_path / name).rename(tmp_path / f"picture{suffix}")


def test_lab_colours_and_tiles_of_a_tiff(tmp_path: Path) -> None:
    lab = ImageCms.applyTransform(
        Image.fromarray(SMOOTH),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    lab.save(tmp_path / "lab.tif")
    assert np.abs(read_frame(tmp_path / "lab.tif").astype(int) - SMOOTH).mean() < 8
    tiled = write_tiff(tmp_path / "tiled.tif", (SMOOTH, {322: 80, 323: 48}))
    for strip, tile in ((273, 324), (279, 325)):
        content = tiled.read_bytes()
        assert content.count(struct.pack("<HH", strip, 4)) == 1
        tiled.write_bytes(content.replace(struct.pack("<HH", strip, 4), struct.pack("<HH", tile, 4)))
    np.testing.assert_array_equal(read_frame(tiled), SMOOTH)


@pytest.mark.parametrize(
    "values", [np.zeros((4, 5), np.float16), np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.int64)]
)
def test_other_numbers_in_a_tiff_are_one_line(tmp_path: Path, values: np.ndarray) -> None:
    write_tiff(tmp_path / "odd.tif", (values, {339: 3 if values.dtype.kind == "f" else 2}))
    with pytest.raises(UserError, match=r"odd\.tif") as caught:
        read_frame(tmp_path / "odd.tif")
    assert "\n" not in str(caught.value)
