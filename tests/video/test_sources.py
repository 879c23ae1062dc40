from __future__ import annotations

import logging
import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiled_avif import write_tiled_avif
from videos import pictures, set_display_matrix, write_video

from adnet.errors import UserError
from adnet.video.file import VideoFrame
from adnet.video.sources import VideoSource, video_sources

TIMES = [0.0, 0.04, 0.08, 0.2, 0.24, 0.5, 1.0, 1.04, 1.5, 3.0]


def only(given: Path | str | int) -> VideoSource:
    (source,) = video_sources(str(given))
    return source


def until_error(source: VideoSource) -> tuple[list[VideoFrame], str]:
    frames: list[VideoFrame] = []
    with pytest.raises(UserError) as caught:
        frames.extend(source.frames())
    return frames, str(caught.value)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def test_a_source_says_how_its_frames_are_called(tmp_path: Path) -> None:
    images = pictures(3)
    for number, image in enumerate(images):
        save(tmp_path / "images" / f"{9 * number}.png", image)
    first, *rest = map(Image.fromarray, images)
    first.save(tmp_path / "several.tif", save_all=True, append_images=rest)
    clip = write_video(tmp_path / "clip.mp4", images)
    for path, names in (
        (tmp_path / "images", ["0", "9", "18"]),
        (save(tmp_path / "one.png", images[0]), ["one"]),
        (tmp_path / "several.tif", ["00000", "00001", "00002"]),
        (clip, ["00000", "00001", "00002"]),
    ):
        source = only(path)
        assert [frame.name for frame in source.frames()] == names
        assert [*islice(source.names(), 3)] == names


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov"])
def test_variable_frame_rate(tmp_path: Path, name: str) -> None:
    expected = pictures(len(TIMES))
    source = only(write_video(tmp_path / name, expected, TIMES))
    frames = list(source.frames())
    assert (source.name, source.live) == ("clip", False)
    assert [frame.name for frame in frames] == [f"{index:05d}" for index in range(10)]
    np.testing.assert_allclose(
        [frame.time for frame in frames], TIMES, atol=1e-3
    )  # Matroska's clock ticks 1000 times a second
    for frame, image in zip(frames, expected, strict=True):
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.astype(int) - image).mean() < 3
    if name != "clip.mkv":  # which says no number
        assert source.length() == 10
    before = source.content()
    assert before == only(tmp_path / name).content()
    write_video(tmp_path / name, pictures(2))
    assert source.content() != before


def test_other_codecs(tmp_path: Path) -> None:
    for name, codec in (("a.avi", "mpeg4"), ("b.mpg", "mpeg2video"), ("c.mkv", "ffv1")):
        frames = list(only(write_video(tmp_path / name, pictures(5), codec=codec)).frames())
        assert len(frames) == 5
        np.testing.assert_allclose([frame.time for frame in frames], np.arange(5) / 25, atol=1e-3)


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # what phones held upright write
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image.transpose(1, 0, 2), 2)),
    ],
)
def test_rotation_metadata(tmp_path: Path, matrix: tuple[int, int, int, int], turned: object) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(3))
    (plain, *_) = only(path).frames()
    set_display_matrix(path, *matrix)
    (frame, *_) = only(path).frames()
    np.testing.assert_array_equal(frame.image, turned(plain.image))  # type: ignore[operator]


def test_rotation_is_what_ffmpeg_says(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = write_video(tmp_path / "clip.mp4", pictures(2))
    set_display_matrix(path, 0, 1, -1, 0)
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
        expected = np.rot90(stored.to_ndarray(format="rgb24"), stored.rotation // 90)
    np.testing.assert_array_equal(next(iter(only(path).frames())).image, expected)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_truncated_video_gives_what_can_be_read_and_then_an_error(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    noise = list(rng.integers(0, 256, (50, 48, 80, 3), np.uint8))
    path = write_video(tmp_path / name, noise)
    whole = list(only(path).frames())
    assert len(whole) == 50
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    frames, error = until_error(only(path))
    assert re.search(
        rf"{name} is damaged \({len(frames)} frames could be read\): .*last \d\.\d s of 2\.0 s are missing", error
    )
    assert "\n" not in error
    assert 20 <= len(frames) <= 35
    for frame, expected in zip(frames[:20], whole, strict=False):
        np.testing.assert_array_equal(frame.image, expected.image)


def flip_bits(path: Path, first: int, last: int) -> None:
    content = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(len(content) * first // 6, len(content) * last // 6, 60):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def test_flawed_frames_are_given_and_counted(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "clip.mp4", list(np.random.default_rng(0).integers(0, 256, (50, 48, 80, 3), np.uint8))
    )
    flip_bits(path, 2, 3)
    frames, error = until_error(only(path))
    assert len(frames) == 50
    assert re.search(
        r"clip\.mp4 is damaged \(50 frames could be read\): \d+ frames have errors, first 000[12]\d$", error
    )


def test_damaged_packets_are_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(50))
    flip_bits(path, 3, 4)
    frames, error = until_error(only(path))
    assert re.search(r"\d packets can't be decoded, first .* at \d\.\d s", error)
    assert 25 < len(frames) < 50
    assert frames[-1].time == pytest.approx(49 / 25)  # what comes after the damage is there


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name in ("text.mp4", "empty.mp4"):
        source = only(tmp_path / name)
        assert source.length() is None
        with pytest.raises(UserError, match=f"cannot read the video .*{name}: ") as caught:
            next(iter(source.frames()))
        assert "\n" not in str(caught.value)


def test_sound_alone(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="has no video stream"):
        next(iter(only(tmp_path / "sound.mp4").frames()))


def test_a_folder_is_one_video_in_natural_order(tmp_path: Path) -> None:
    for number, image in zip((10, 9, 1), pictures(3), strict=True):
        save(tmp_path / "walk" / f"frame{number}.png", image)
    (tmp_path / "walk" / "notes.txt").write_text("a walk")
    (tmp_path / "walk" / ".hidden.png").write_text("not an image")
    source = video_sources(str(tmp_path / "walk"), fps=10)[0]
    frames = list(source.frames())
    assert (source.name, source.length()) == ("walk", 3)
    assert [(frame.name, frame.time) for frame in frames] == [("frame1", 0), ("frame9", 0.1), ("frame10", 0.2)]
    np.testing.assert_array_equal(frames[2].image, pictures(3)[0])


def test_numbers_are_ordered_each_by_itself_and_links_followed(tmp_path: Path) -> None:
    for name in ("1.25", "1.5", "10", "2"):
        save(tmp_path / "elsewhere" / f"{name}.png", pictures(1)[0])
    (tmp_path / "walk").mkdir()
    for name in ("10", "1.25", "2", "1.5"):
        (tmp_path / "walk" / f"{name}.png").symlink_to(tmp_path / "elsewhere" / f"{name}.png")
    assert [frame.name for frame in only(tmp_path / "walk").frames()] == ["1.5", "1.25", "2", "10"]


def test_unreadable_images_are_left_out_and_named(tmp_path: Path) -> None:
    for number, image in enumerate(pictures(4)):
        save(tmp_path / "walk" / f"{number}.png", image)
    torn = tmp_path / "walk" / "1.png"
    torn.write_bytes(torn.read_bytes()[:60])
    frames, error = until_error(only(tmp_path / "walk"))
    assert [frame.name for frame in frames] == ["0", "2", "3"]
    assert re.search(r"^1 of 4 images can't be read: cannot read the image .*1\.png: ", error)


def test_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = pictures(1)[0]
    Image.fromarray(image).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(next(iter(only(tmp_path / "photo.png").frames())).image, np.rot90(image, -1))


def test_globs_lists_and_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for number in range(2):
            save(tmp_path / folder / f"{number}.jpg", pictures(2)[number])
    for name in ("x.mp4", "y10.mkv", "y9.mkv"):
        (tmp_path / name).touch()
    (tmp_path / "x.txt").touch()

    def names(*given: str) -> list[str]:
        return [source.name for source in video_sources([str(tmp_path / part) for part in given])]

    assert names("*") == ["x", "y9", "y10", "a", "b"]
    assert names("*.mkv") == ["y9", "y10"]
    assert names("*/*.jpg") == ["a", "b"]
    assert names("b", "x.mp4", "x.mp4") == ["b", "x"]
    assert names("a/1.jpg") == ["a"]
    (tmp_path / "a" / "x.mp4").touch()
    assert names("**/*.mp4") == ["a/x.mp4", "x.mp4"]
    assert [source.length() for source in video_sources(str(tmp_path / "a*"))] == [2]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "z.mp4").touch()
    assert names("c") == ["z"]


@pytest.mark.parametrize("suffix", [".vob", ".h264", ".HEVC", ".mjpeg", ".dv", ".asf", ".qt", ".rm", ".m2t"])
def test_videos_in_a_folder_are_known_by_their_suffix(tmp_path: Path, suffix: str) -> None:
    for name in (f"a{suffix}", "b.mp4", "notes.txt"):
        (tmp_path / name).touch()
    assert [source.name for source in video_sources(str(tmp_path))] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing.mp4", r"there is no .*nothing\.mp4; input is a video, a folder of images"),
        ("*.mp4", "there is no .*mp4"),
        ("empty", "no images and no videos in the folder"),
        ("note*", "no images and no videos match"),
        ("480p", r"no images and no videos in the folder .*, but .*480p has folders with images \(bear\)$"),
        ("scans", r"no images and no videos in the folder .*, but .*scans holds \.jxl$"),
        ("twice", "2 images called 1: masks are named after them"),
    ],
)
def test_what_there_isn_t_is_named(tmp_path: Path, given: str, message: str) -> None:
    for folder in ("empty", "scans"):
        (tmp_path / folder).mkdir()
    for file in ("notes.txt", "scans/1.jxl"):
        (tmp_path / file).touch()
    save(tmp_path / "480p" / "bear" / "1.png", pictures(1)[0])
    for name in ("1.png", "1.jpg"):
        save(tmp_path / "twice" / name, pictures(1)[0])
    with pytest.raises(UserError, match=message):
        video_sources(str(tmp_path / given))


class Camera:
    released = 0

    def __init__(self, index: int) -> None:
        self.images = pictures(3) if index == 0 else []

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.images.pop(0)[..., ::-1]) if self.images else (False, None)

    def release(self) -> None:
        Camera.released += 1


def test_webcam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    camera, missing = video_sources([0, "7"])
    assert (camera.name, camera.live, camera.length(), missing.name) == ("webcam0", True, None, "webcam7")
    frames, error = until_error(camera)
    assert error == "the webcam 0 stopped after 3 frames"
    np.testing.assert_array_equal([frame.image for frame in frames], pictures(3))
    assert frames[0].time <= frames[1].time <= frames[2].time
    with pytest.raises(UserError, match="no webcam answers as 7"):
        next(iter(missing.frames()))
    assert Camera.released == 2


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'adnet\[video\]'"):
        next(iter(only(path).frames()))
    save(tmp_path / "walk" / "1.png", pictures(1)[0])
    assert len(list(only(tmp_path / "walk").frames())) == 1


@pytest.mark.parametrize(("suffix", "step"), [(".webp", 0.2), (".png", 0.2), (".avif", 0.2), (".tif", 0.5)])
def test_several_pictures_in_a_file_are_a_video(tmp_path: Path, suffix: str, step: float) -> None:
    images = pictures(12)
    first, *others = map(Image.fromarray, images)
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95}
    first.save(tmp_path / f"walk{suffix}", save_all=True, append_images=others, duration=200, **options)
    (source,) = video_sources(str(tmp_path / f"walk{suffix}"), fps=2)
    frames = list(source.frames())
    assert (source.name, source.length()) == ("walk", 12)
    assert [frame.name for frame in frames] == [f"{index:05d}" for index in range(12)]
    np.testing.assert_allclose([frame.time for frame in frames], step * np.arange(12), atol=0.01)
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4


def test_an_animation_among_images_is_a_video_of_its_own(tmp_path: Path) -> None:
    first, *others = map(Image.fromarray, pictures(3))
    for number in range(2):
        save(tmp_path / "walk" / f"{number}.png", pictures(2)[number])
    first.save(tmp_path / "walk" / "loop.webp", save_all=True, append_images=others, duration=40)
    found = {source.name: [frame.name for frame in source.frames()] for source in video_sources(str(tmp_path / "walk"))}
    assert found == {"walk": ["0", "1"], "loop": ["00000", "00001", "00002"]}


def test_a_tiled_avif_is_an_image(tmp_path: Path) -> None:
    image = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 15, 64, axis=0), 64, axis=1)
    write_tiled_avif(tmp_path / "phone.avif", np.repeat(image, 3, axis=2))
    (frame,) = only(tmp_path / "phone.avif").frames()
    assert np.abs(frame.image.astype(int) - image).mean() < 4


def test_videos_beside_images_are_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "IMG_1.JPG", np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "IMG_1.MOV").write_bytes(b"a live photo")
    with caplog.at_level(logging.WARNING):
        assert [frame.name for frame in only(tmp_path).frames()] == ["IMG_1"]
    assert "is read as a folder of images (1), and not the videos in it (1): name those by a glob" in caplog.text


def test_an_address_is_to_be_downloaded() -> None:
    with pytest.raises(UserError, match=r"^https://a\.org/b\.mp4 is an address: download it first$"):
        video_sources("https://a.org/b.mp4")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("7", "7_mask", "8", "8_mask"), ["7.png and 7_mask.png"]),
        (("a_1", "a_2", "b_1", "b_2"), ["a_1.png and b_1.png"]),
        (("a", "b", "clip1_1", "clip1_2", "clip2_1"), []),
    ],
)
def test_two_videos_in_a_folder_or_masks_among_frames_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names: tuple[str, ...], said: list[str]
) -> None:
    for name in names:
        save(tmp_path / f"{name}.png", np.zeros((4, 6, 3), np.uint8))
    assert len(list(only(tmp_path).frames())) == len(names)
    assert caplog.messages == [
        f"{tmp_path} is read as one video, but {pair} have the same number: if these are two videos, or frames and masks, name one by "
        "a glob"
        for pair in said
    ]
