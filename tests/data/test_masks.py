from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from adnet.data.masks import has_void, read_mask, write_mask
from adnet.errors import UserError
from adnet.metrics import region_similarity
from adnet.metrics.frame_scores import read_prediction

MASK = np.zeros((6, 9), dtype=bool)
MASK[1:4, 2:7] = True


def palette(mask: np.ndarray) -> Image.Image:
    """Label 1 is red and label 0 white: read by brightness, the mask would be inverted."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([255, 255, 255, 128, 0, 0])
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
    "RGBA": lambda mask: colours(mask, 0, 7, 0, 255),
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
    assert read.flags.writeable  # PyTorch warns of others
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

    def half(target: Path, content: bytes) -> None:
        with target.open("wb") as stream:
            stream.write(content[:4])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="disk full"):
        write_mask(file, ~MASK)
    np.testing.assert_array_equal(read_mask(file), MASK)
    assert [path.name for path in tmp_path.iterdir()] == ["00000.png"]


PHOTO = np.random.default_rng(1).integers(0, 256, (48, 80, 3), dtype=np.uint8)
OBJECT = np.zeros((48, 80), dtype=bool)
OBJECT[12:36, 20:60] = True
GREY = Image.fromarray(OBJECT.astype(np.uint8) * 255)


def soft(sigma: float) -> Image.Image:
    return Image.fromarray(cv2.GaussianBlur(OBJECT.astype(np.uint8) * 255, (0, 0), sigma))


def anti_aliased() -> Image.Image:
    """A disk, drawn at four times its size and made smaller: few grey values, between the object's and the background's."""
    large = Image.new("L", (320, 192))
    ImageDraw.Draw(large).ellipse((80, 40, 240, 150), fill=255)
    return large.resize((80, 48), Image.Resampling.BOX)


def near(read: np.ndarray, wanted: np.ndarray) -> float:
    return float(region_similarity(read, wanted))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".jpg", {"quality": 95}), (".jpg", {"quality": 75}), (".webp", {"quality": 80}), (".avif", {"quality": 60})],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_mask_in_a_lossy_format(tmp_path: Path, suffix: str, options: dict[str, int], mode: str) -> None:
    GREY.convert(mode).save(tmp_path / f"mask{suffix}", **options)
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), OBJECT)
    empty = Image.new(mode, (80, 48))
    empty.save(tmp_path / f"empty{suffix}", **options)
    assert not read_mask(tmp_path / f"empty{suffix}").any()


@pytest.mark.parametrize("level", [255, 128, 40])
@pytest.mark.parametrize("sigma", [0.6, 1.5, 5])
def test_soft_edges_are_cut_at_half_of_the_brightest(tmp_path: Path, sigma: float, level: int) -> None:
    values = np.rint(np.asarray(soft(sigma)) * (level / 255)).astype(np.uint8)
    for mode in ("L", "RGB", "P"):
        Image.fromarray(values).convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values >= values.max() / 2)
    assert near(values >= values.max() / 2, OBJECT) > (0.97 if sigma < 5 else 0.9)
    Image.fromarray(values.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), values >= values.max() / 2)
    red = np.zeros((48, 80, 3), np.uint8)
    red[..., 0] = values
    Image.fromarray(red).save(tmp_path / "red.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "red.png"), values >= values.max() / 2)


def test_a_soft_mask_with_the_noise_of_compression(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (6, 10)).repeat(8, 0).repeat(8, 1)  # flat, as JPEG's blocks
    values = np.abs(np.asarray(soft(1.5)).astype(int) - noise).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values >= values.max() / 2)


def test_an_anti_aliased_mask_of_few_values(tmp_path: Path) -> None:
    anti_aliased().save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.asarray(anti_aliased()) >= 127.5)


VIRIDIS = np.array([[68, 1, 84, 255], [253, 231, 36, 255]], np.uint8)
"""The colours in which matplotlib saves a mask."""

TWO_GREYS = np.where(OBJECT, 90 + 165 * (np.arange(80) > 30), 0).astype(np.uint8)
TWO_COLOURS = Image.fromarray(np.array([[0, 0, 0], [128, 0, 0], [0, 200, 0]], np.uint8)[TWO_GREYS // 90])

GREY_PHOTO = Image.fromarray(cv2.GaussianBlur(PHOTO, (0, 0), 1)).convert("L")

LABELS = {
    "two touching objects": np.where(OBJECT, 1 + (np.arange(80) > 40), 0),
    "the greys of a palette": np.where(OBJECT, 38 + 37 * (np.arange(80) // 20), 0),
    "an object of one pixel beside another": np.where(OBJECT, 3 - 2 * (np.arange(80) == 20), 0),
    "unknown around it": np.where(
        OBJECT, 255, np.where(cv2.dilate(OBJECT.astype(np.uint8), np.ones((9, 9))) > 0, 128, 0)
    ),
    "void around it": np.where(OBJECT, 1, np.where(cv2.dilate(OBJECT.astype(np.uint8), np.ones((5, 5))) > 0, 255, 0)),
    "thirty objects": np.where(OBJECT, 1 + np.arange(80) // 20 + 8 * (np.arange(48)[:, None] // 6), 0),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_are_all_foreground(tmp_path: Path, name: str) -> None:
    labels = LABELS[name].astype(np.uint8)
    index = Image.fromarray(labels)
    index.putpalette([0, 0, 0, *np.random.default_rng(0).integers(1, 256, 765).tolist()])  # as in DAVIS: colours
    for image in (Image.fromarray(labels), Image.fromarray(labels.astype(np.uint16)), index, index.convert("RGB")):
        image.save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels != 0)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.dstack([PHOTO, np.asarray(GREY)])),  # a cut-out
        Image.fromarray(
            np.dstack([np.full_like(PHOTO, 255), np.asarray(GREY)])
        ),  # a white brush on a transparent layer
        Image.fromarray(np.dstack([np.zeros_like(PHOTO), np.asarray(GREY)])),  # a silhouette
        Image.fromarray(np.dstack([PHOTO * OBJECT[..., None], np.asarray(GREY) // 2])),  # an overlay half transparent
        Image.merge("LA", [Image.new("L", (80, 48), 255), GREY]),
    ],
)
def test_a_mask_in_the_alpha_channel(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), OBJECT)
    for format_ in ("tif", "webp"):
        image.convert("RGBA").save(tmp_path / f"mask.{format_}", lossless=True)
        np.testing.assert_array_equal(read_mask(tmp_path / f"mask.{format_}"), OBJECT)
    image.putalpha(0)  # nothing is in sight in this frame
    image.save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png").any()


def test_an_opaque_alpha_channel_says_nothing(tmp_path: Path) -> None:
    for mode in ("LA", "RGBA"):
        GREY.convert(mode).save(tmp_path / "mask.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), OBJECT)


def bilevel(white_first: bool, suffix: str, path: Path) -> Path:
    image = Image.fromarray((white_first != OBJECT).astype(np.uint8))
    image.putpalette([255, 255, 255, 0, 0, 0] if white_first else [0, 0, 0, 255, 255, 255])
    image.save(path.with_suffix(suffix))
    return path.with_suffix(suffix)


@pytest.mark.parametrize("white_first", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif"])
def test_two_colours_are_judged_by_brightness(tmp_path: Path, white_first: bool, suffix: str) -> None:
    np.testing.assert_array_equal(read_mask(bilevel(white_first, suffix, tmp_path / "mask")), OBJECT)
    np.testing.assert_array_equal(read_prediction(tmp_path / f"mask{suffix}") > 0, OBJECT)


@pytest.mark.parametrize("suffix", [".png", ".pbm", ".tif", ".bmp"])
def test_bilevel_is_white_on_black(tmp_path: Path, suffix: str) -> None:
    GREY.convert("1").save(tmp_path / f"mask{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask{suffix}"), OBJECT)


def test_a_quantised_soft_mask(tmp_path: Path) -> None:
    soft(1.5).convert("RGB").quantize(16).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        brightness = np.asarray(image.convert("L"))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), brightness >= brightness.max() / 2)


@pytest.mark.parametrize(
    ("suffix", "image", "reason"),
    [
        (".png", Image.fromarray(PHOTO), "is no mask: it has 38.. values"),
        (".jpg", Image.fromarray(np.where(OBJECT[..., None], [128, 0, 0], 0).astype(np.uint8)), "write it as PNG"),
        (".tif", Image.fromarray(100 * OBJECT.astype(np.float32)), "has values from 0 to 100: scale them to 0 to 1"),
        (".tif", Image.fromarray(OBJECT.astype(np.int32) * 70000), "values from 0 to 70000"),
        (".png", colours(OBJECT, 0, 7, 0, 0), "one mask in its colours and another in its alpha channel"),
        (".png", Image.fromarray(np.where(OBJECT[..., None], VIRIDIS[1], VIRIDIS[0])), "no pixel of .* is black"),
        (".png", Image.fromarray(np.dstack([PHOTO, 160 + OBJECT * np.uint8(95)])), "alpha channel of .* nowhere below"),
        (".png", TWO_COLOURS.quantize(3), "background of .* may be index 0 of its palette, .* or 2, which is: write"),
        (".gif", TWO_COLOURS, "background of .* may be index 0 of its palette"),
        (".jpg", Image.fromarray(TWO_GREYS), "has areas of grey: JPEG doesn't keep labels apart; write it as PNG"),
        (".jpg", Image.fromarray(TWO_GREYS // 90), "has areas of grey: JPEG doesn't keep labels apart"),
        (".jpg", GREY_PHOTO, "is no mask: most of it is neither dark nor bright"),
        (".jp2", Image.fromarray(TWO_GREYS // 45), "has areas of grey: JPEG2000 doesn't keep labels apart"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, suffix: str, image: Image.Image, reason: str) -> None:
    image.save(tmp_path / f"mask{suffix}")
    for read in (read_mask, read_prediction):
        if suffix == ".tif" and read is read_prediction and image.mode == "F":
            continue  # floats out of range are refused as probabilities
        if image.mode == "L" and read is read_prediction:
            continue  # in predictions, greys may be probabilities
        with pytest.raises(UserError, match=reason) as caught:
            read(tmp_path / f"mask{suffix}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("kind", ["photograph", "painted white", "cut out on black", "cut out on white"])
def test_a_photograph_is_no_mask_whatever_was_painted_on_it(tmp_path: Path, kind: str, mode: str) -> None:
    photo = cv2.GaussianBlur(cv2.resize(PHOTO, (320, 192), interpolation=cv2.INTER_NEAREST), (0, 0), 1.5)
    inside = OBJECT.repeat(4, 0).repeat(4, 1)[..., None]
    changed = {"painted white": (255, photo), "cut out on black": (photo, 0), "cut out on white": (photo, 255)}
    pixels = np.where(inside, *changed.get(kind, (photo, photo))).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "mask.png")
    with pytest.raises(
        UserError, match=r"mask\.png is no mask: it has .* values, neither flat, .* nor one bright area"
    ):
        read_mask(tmp_path / "mask.png")


def test_a_matte_with_hair_is_a_soft_mask(tmp_path: Path) -> None:
    inside = OBJECT.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    rim = (cv2.dilate(inside, np.ones((25, 25), np.uint8)) > 0) & (inside == 0)
    hair = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, rim.shape, np.uint8), (0, 0), 1)
    values = np.where(rim, hair, inside * np.uint8(255))
    Image.fromarray(values).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), values >= 127.5)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_small_labels_in_16_bits_of_each_colour_are_not_lost(tmp_path: Path, suffix: str) -> None:
    """Pillow reads the upper 8 bits of each."""
    file, labels = tmp_path / f"mask{suffix}", np.repeat(OBJECT[..., None], 3, axis=2).astype(np.uint16)
    assert cv2.imwrite(str(file), labels * 65535)
    np.testing.assert_array_equal(read_mask(file), OBJECT)
    assert cv2.imwrite(str(file), labels * 0)
    assert not read_mask(file).any()
    assert cv2.imwrite(str(file), labels)
    for read in (read_mask, read_prediction):
        with pytest.raises(UserError, match="has 16 bits for each colour, but only values up to 255: write 8 bits"):
            read(file)


def test_greys_of_two_values_without_black_are_no_mask(tmp_path: Path) -> None:
    """As a video has them: black is 16."""
    Image.fromarray(np.where(OBJECT, 235, 16).astype(np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"no pixel of .*mask\.png is black, the background of labels"):
        read_mask(tmp_path / "mask.png")
    noise = np.random.default_rng(0).integers(-2, 3, OBJECT.shape)
    soft_video = 16 + np.asarray(soft(1.5)) * (219 / 255) + noise
    Image.fromarray(soft_video.astype(np.uint8)).save(tmp_path / "mask.png")
    assert near(read_mask(tmp_path / "mask.png"), OBJECT) > 0.95


@pytest.mark.parametrize("sigma", [0.6, 1.5, 5, 12, 30])
@pytest.mark.parametrize("quality", [75, 95])
def test_soft_masks_in_jpeg_have_no_areas_of_grey(tmp_path: Path, sigma: float, quality: int) -> None:
    values = cv2.GaussianBlur(OBJECT.repeat(4, 0).repeat(4, 1) * np.uint8(255), (0, 0), sigma)
    Image.fromarray(values).save(tmp_path / "mask.jpg", quality=quality)
    assert near(read_mask(tmp_path / "mask.jpg"), values >= values.max() / 2) > 0.97


@pytest.mark.parametrize("alpha", [254, 128])
def test_an_alpha_channel_that_is_equal_everywhere_says_nothing(tmp_path: Path, alpha: int) -> None:
    image = GREY.convert("RGB")
    image.putalpha(alpha)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), OBJECT)


@pytest.mark.parametrize("values", [OBJECT, OBJECT * np.uint8(255)], ids=["bool", "inverted table"])
def test_a_tiff_in_which_0_is_white_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    """So tifffile writes bool arrays and ImageJ its masks, and both mean the numbers; scanners mean what is seen."""
    Image.fromarray(values).save(tmp_path / "mask.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "mask.tif") as image:
        assert image.tag_v2[262] == 0
    for read in (read_mask, read_prediction):
        with pytest.raises(
            UserError, match=r"mask\.tif is a TIFF in which 0 is white: is the object white, or 1\? Write"
        ):
            read(tmp_path / "mask.tif")


def test_floats_are_a_soft_mask(tmp_path: Path) -> None:
    Image.fromarray(np.asarray(soft(1.5)).astype(np.float32) / 255).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), np.asarray(soft(1.5)) >= 127.5)


def test_void_is_seen(tmp_path: Path) -> None:
    for name, labels in LABELS.items():
        Image.fromarray(labels.astype(np.uint8)).save(tmp_path / "mask.png")
        assert has_void(tmp_path / "mask.png") == name.endswith("around it")
    GREY.save(tmp_path / "mask.png")
    assert not has_void(tmp_path / "mask.png")
    soft(1.5).save(tmp_path / "mask.png")
    assert not has_void(tmp_path / "mask.png")
