"""Files that people have: covers, joined recordings, lost beginnings, odd names, other kinds of light and of pixels."""

from __future__ import annotations

import logging
import re
import struct
import zlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image, ImageOps
from videos import pictures, set_display_matrix, write_video

from adnet.data.hdr import tone_mapped
from adnet.data.pictures import read_frame
from adnet.errors import UserError
from adnet.video.file import VideoFile


def read(path: Path) -> list[Any]:
    return list(VideoFile("clip", path).frames())


def jpeg(image: np.ndarray, **options: Any) -> bytes:
    content = BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=95, **options)
    return content.getvalue()


def add_picture(container: Any, content: bytes, disposition: Disposition | None = None) -> Any:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    if disposition:
        stream.disposition = disposition
    return stream, packet(stream, content, 0)


def packet(stream: Any, content: bytes, index: int) -> av.Packet:
    made = av.Packet(content)
    made.stream, made.pts, made.dts, made.time_base = stream, index, index, Fraction(1, 25)
    made.is_keyframe = True
    return made


def sound(stream: Any, seconds: float) -> list[av.Packet]:
    packets = []
    for index in range(round(seconds * 48000 / 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * index, Fraction(1, 48000)
        packets += stream.encode(frame)
    return packets + stream.encode()


def write_with_sound(
    path: Path, seconds: float, start: float = 0, cover: bytes | None = None, film: bool = True, more_sound: float = 0
) -> Path:
    """25 frames a second, from `start` on, beside sound to their end and `more_sound` seconds beyond."""
    with av.open(str(path), "w", format="mp4" if path.suffix == ".m4a" else None) as container:
        audio = container.add_stream("aac", rate=48000)
        audio.layout = "mono"
        video = container.add_stream("libx264", rate=25) if film else None
        if cover:
            cover_packet = add_picture(container, cover, Disposition.attached_pic)[1]
        if video:
            video.width, video.height, video.pix_fmt = 80, 48, "yuv420p"
        for part in sound(audio, start + seconds + more_sound):
            container.mux(part)
        if cover:
            container.mux(cover_packet)
        if video:
            for index, image in enumerate(pictures(round(25 * seconds))):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = index + round(25 * start), Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode())
    return path


def boxes(content: bytes) -> list[bytes]:
    found = []
    while content:
        (size,) = struct.unpack(">I", content[:4])
        found.append(content[:size])
        content = content[size:]
    return found


def tags_first(path: Path) -> None:
    """Put the tags of an MP4, where its cover is, before its tracks, as taggers that insert them may."""
    whole = path.read_bytes()
    moov = next(box for box in boxes(whole) if box[4:8] == b"moov")
    inside = sorted(boxes(moov[8:]), key=lambda box: (b"mvhd", b"udta", b"trak").index(box[4:8]))
    path.write_bytes(whole.replace(moov, moov[:8] + b"".join(inside)))


def test_a_cover_is_not_the_film(tmp_path: Path) -> None:
    cover = jpeg(np.full((64, 64, 3), 200, np.uint8))
    path = write_with_sound(tmp_path / "clip.mp4", 1, cover=cover)
    tags_first(path)
    with av.open(str(path)) as container:
        assert container.streams.video[0].disposition & Disposition.attached_pic  # and so the first
    frames = read(path)
    assert [frame.image.shape for frame in frames] == [(48, 80, 3)] * 25
    assert VideoFile("clip", path).length() == 25
    with pytest.raises(UserError, match=r"sound\.m4a has no video stream, only a cover$"):
        read(write_with_sound(tmp_path / "sound.m4a", 1, cover=cover, film=False))


def test_a_single_picture_before_the_film_is_not_the_film(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        _, picture = add_picture(container, jpeg(np.full((64, 64, 3), 200, np.uint8)))
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 80, 48, "yuv420p"
        container.mux(picture)
        for image in pictures(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    assert len(read(tmp_path / "clip.mkv")) == 25


@pytest.mark.parametrize("orientation", range(1, 9))
def test_motion_jpeg_with_exif(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(pictures(1)[0], exif=exif, subsampling=0)
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuvj444p"
        for index in range(2):
            container.mux(packet(stream, content, index))
    with Image.open(BytesIO(content)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture)).astype(int)
    for frame in read(tmp_path / "clip.avi"):
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image - expected).mean() < 2


def test_a_late_video_is_beside_its_sound_and_not_damaged(tmp_path: Path) -> None:
    for name in ("clip.mkv", "clip.mp4", "clip.ts"):
        frames = read(write_with_sound(tmp_path / name, 2, start=1.6))
        np.testing.assert_allclose([frame.time for frame in frames], 1.6 + np.arange(50) / 25, atol=0.03)


@pytest.mark.parametrize("suffix", [".wmv", ".mp4", ".mkv", ".flv", ".ts", ".avi", ".mov"])
def test_sound_that_goes_on_after_the_film_is_no_damage(tmp_path: Path, suffix: str) -> None:
    assert len(read(write_with_sound(tmp_path / f"clip{suffix}", 1, more_sound=3))) == 25


def test_pictures_that_stay_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty packet, as Theora has for a picture like the one before; decoders refuse it."""
    path, content = tmp_path / "clip.nut", jpeg(pictures(1)[0])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "yuvj420p"
        for index in range(50):
            container.mux(packet(stream, content if index % 5 == 0 and index < 30 else b"", index))
    monkeypatch.setattr("adnet.video.file._end", lambda *_: 2.0)  # as Ogg states it
    np.testing.assert_allclose([frame.time for frame in read(path)], np.arange(6) / 5)


def test_what_a_stream_hides_at_its_edges_is_cut_off(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", pictures(3))
    with av.open(str(plain)) as given, av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        hide = av.BitStreamFilterContext(
            "h264_metadata=crop_left=16:crop_right=8:crop_top=4", given.streams.video[0], stream
        )
        for part in [*given.demux(video=0), None]:
            for changed in hide.filter(part) if part is None or part.dts is not None else []:
                changed.stream = stream
                container.mux(changed)
    for frame, whole in zip(read(tmp_path / "clip.mp4"), read(plain), strict=True):
        np.testing.assert_array_equal(frame.image, whole.image[4:, 16:-8])


def test_a_tag_that_an_editor_left_proves_nothing(tmp_path: Path) -> None:
    path = write_with_sound(tmp_path / "clip.mkv", 2)
    content, number = re.subn(rb"00:00:02\.000000000", b"00:00:20.000000000", path.read_bytes())
    assert number == 1
    path.write_bytes(content)
    assert len(read(path)) == 50


def test_what_comes_before_the_first_key_frame_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt, video.options = (
            80,
            48,
            "yuv420p",
            {"g": "50", "bf": "0", "sc_threshold": "0"},
        )
        rng = np.random.default_rng(0)
        for _ in range(150):
            image = rng.integers(0, 256, (48, 80, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 6 // 188 * 188 :])
    with caplog.at_level(logging.WARNING):
        frames = read(path)
    assert len(frames) == 100
    (message,) = (record.getMessage() for record in caplog.records if record.name == "adnet.video.file")
    assert re.search(r"clip\.ts: its first 1\.\d s come before the first key frame and can't be shown$", message)


def test_a_codec_without_a_decoder_is_one_line(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", pictures(2))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"new1"))
    assert VideoFile("clip", path).length() is None
    with pytest.raises(UserError, match=r"cannot read the video .*clip\.mp4: FFmpeg has no decoder for its codec"):
        read(path)


def test_colours_that_are_not_read_are_one_line(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.mp4", pictures(2))
    with av.open(str(plain)) as given, av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        state = av.BitStreamFilterContext("h264_metadata=matrix_coefficients=8", given.streams.video[0], stream)
        for part in [*given.demux(video=0), None]:
            for changed in state.filter(part) if part is None or part.dts is not None else []:
                changed.stream = stream
                container.mux(changed)
    with pytest.raises(UserError, match=r"clip\.mp4: its pixels \(yuv420p, colour matrix 8: .*\) are not read"):
        read(tmp_path / "clip.mp4")


def test_floating_point_is_one_line(tmp_path: Path) -> None:
    """OpenEXR holds light, not levels: it would be dark."""
    with av.open(str(tmp_path / "render.exr"), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("exr", rate=25)
        stream.width, stream.height, stream.pix_fmt = 80, 48, "gbrpf32le"
        grey = np.full((48, 80, 3), 0.2, np.float32)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, "gbrpf32le")))
        container.mux(stream.encode())
    with pytest.raises(
        UserError, match=r"render\.exr: its pixels \(gbrpf32le, .* floating-point numbers.*\) are not read"
    ):
        read(tmp_path / "render.exr")


@pytest.mark.parametrize(("brightest", "said"), [(4095, True), (65535, False)])
def test_12_bits_in_16_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, brightest: int, said: bool) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 80, 48, "gray16le"
        for level in (0, brightest):
            grey = np.full((48, 80), level, np.uint16)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, "gray16le")))
        container.mux(video.encode())
    assert len(read(tmp_path / "clip.mkv")) == 2
    assert ["as if of 12 bits" in message for message in caplog.messages] == [True] * said


@pytest.mark.parametrize(("size", "matrix"), [((720, 1280), "ITU709"), ((576, 720), "ITU601")], ids=["HD", "SD"])
def test_colours_without_a_matrix_are_those_that_players_show(
    tmp_path: Path, size: tuple[int, int], matrix: str
) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width = size
        video.pix_fmt, video.options = "yuv420p", {"preset": "ultrafast", "crf": "1"}
        image = np.full((*size, 3), (200, 40, 40), np.uint8)
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p", dst_colorspace=matrix)
        frame.colorspace = 2
        container.mux(video.encode(frame))
        container.mux(video.encode())
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == 2
    (frame,) = read(tmp_path / "clip.mp4")
    assert np.abs(frame.image.astype(int) - image).max() <= 3


def three_frames(path: Path, interlaced: int) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 80, 64, "yuv420p"
        video.options = {"x264-params": f"interlaced={interlaced}"}
        for image in pictures(3, (64, 80)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    return path


@pytest.mark.parametrize("interlaced", [0, 1])
def test_interlaced_frames_are_as_stored_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, interlaced: int
) -> None:
    path = three_frames(tmp_path / "clip.mp4", interlaced)
    assert len(read(path)) == 3
    assert ["is interlaced" in message for message in caplog.messages] == [True] * interlaced


def test_interlaced_frames_after_others_are_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a DVD whose first seconds are a logo."""
    content = b""
    for interlaced in (0, 1):
        content += three_frames(tmp_path / "part.ts", interlaced).read_bytes()
    (tmp_path / "clip.ts").write_bytes(content)
    assert len(read(tmp_path / "clip.ts")) == 6
    assert ["is interlaced" in message for message in caplog.messages] == [True]


def test_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01T12:30:00.mp4", "100%.mp4", "a=[b] é's.mp4"):
        write_video(tmp_path / "clip.mp4", pictures(2)).rename(name)
        assert len(read(Path(name))) == 2


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square(tmp_path: Path, turned: bool) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 80, 48, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(16, 11)
        container.mux(video.encode(av.VideoFrame.from_ndarray(pictures(1)[0], "rgb24")))
        container.mux(video.encode())
    if turned:
        set_display_matrix(path, 0, 1, -1, 0)
    (frame,) = read(path)
    assert frame.image.shape == ((80, 48, 3) if turned else (48, 80, 3))
    assert frame.pixel_aspect == pytest.approx(11 / 16 if turned else 16 / 11)
    assert frame.shown_size == ((80, 33) if turned else (48, 116))


def write_16_bits(path: Path, image: np.ndarray, transfer: int) -> Path:
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = image.shape[1], image.shape[0], "gbrp16le"
        video.codec_context.color_trc, video.codec_context.color_primaries = transfer, 9
        frame = av.VideoFrame.from_ndarray(image, "gbrp16le")
        frame.color_trc, frame.color_primaries = transfer, 9
        container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


def linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def pq(light: np.ndarray) -> np.ndarray:
    """The signal of light in cd/m2: SMPTE ST 2084, Eq. 5.2."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """The same for a screen of 1000 cd/m2: ITU-R BT.2100, Table 5."""
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light / 1000 * np.maximum(luminance / 1000, 1e-9)[..., None] ** (-0.2 / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


@pytest.mark.parametrize(("encoded", "transfer"), [(pq, 16), (hlg, 18)])
def test_high_dynamic_range_is_shown_as_on_an_ordinary_screen(tmp_path: Path, encoded: Any, transfer: int) -> None:
    """An ordinary picture, as bright as BT.2408 wants it, comes back as it was where it isn't bright; what is brighter stays in order."""
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
    picture = np.random.default_rng(0).integers(0, 187, (32, 48, 3), np.uint8)
    signal = encoded(203 * linear(picture / 255) @ to_bt2020.T)
    (frame,) = read(write_16_bits(tmp_path / "clip.mkv", np.rint(65535 * signal).astype(np.uint16), transfer))
    # Next to a bright channel, rounded matrices let a dark one differ.
    assert np.abs(frame.image.astype(int) - picture)[picture > 40].max() <= 2
    assert np.abs(frame.image.astype(int) - picture).mean() < 0.5

    greys = np.repeat(np.linspace(0, 1000, 64)[None, :, None], 3, axis=2).repeat(2, axis=0)
    signal = np.rint(65535 * np.clip(encoded(greys), 0, 1)).astype(np.uint16)
    (frame,) = read(write_16_bits(tmp_path / "clip.mkv", signal, transfer))
    levels = frame.image[0, :, 1].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert len(np.unique(levels[greys[0, :, 0] > 203])) > 20
    assert (levels[0], levels[-1]) == (0, 255)
    assert 220 <= np.interp(203, greys[0, :, 0], levels) <= 228


@pytest.mark.parametrize("transfer", [16, 18])
def test_pictures_of_high_dynamic_range_are_shown_as_videos_are(tmp_path: Path, transfer: int) -> None:
    """FFmpeg writes it into the PNG files of a video's frames; Pillow can't write it."""
    stored = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    (frame,) = read(write_16_bits(tmp_path / "clip.mkv", stored * np.uint16(257), transfer))
    Image.fromarray(stored).save(tmp_path / "frame.png")
    content, chunk = (tmp_path / "frame.png").read_bytes(), b"cICP" + bytes([9, transfer, 0, 1])
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "frame.png").write_bytes(content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(read_frame(tmp_path / "frame.png"), frame.image)
    assert np.abs(frame.image.astype(int) - stored).mean() > 20

    Image.fromarray(stored).save(tmp_path / "still.avif", quality=100, subsampling="4:4:4")
    plain = read_frame(tmp_path / "still.avif")
    content, number = re.subn(
        rb"colrnclx....", b"colrnclx\0\x09\0" + bytes([transfer]), (tmp_path / "still.avif").read_bytes()
    )
    assert number == 1
    (tmp_path / "still.avif").write_bytes(content)
    np.testing.assert_array_equal(read_frame(tmp_path / "still.avif"), tone_mapped(plain * np.uint16(257), transfer))


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        *(("clip.mp4", "libx264", kind) for kind in ("yuv444p", "yuv420p10le", "yuvj420p")),
        *(("clip.mkv", "ffv1", kind) for kind in ("gray", "gray10le", "yuv422p12le", "bgra", "yuva420p", "gbrp16le")),
        *(
            ("clip.mov", codec, kind)
            for codec, kind in (("png", "rgba"), ("qtrle", "argb"), ("prores_ks", "yuva444p10le"))
        ),
    ],
)
def test_any_kind_of_pixels_is_8_bits_of_each_colour(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    """Transparency is left out: the colours are those stored."""
    image = pictures(3)[2]
    with av.open(str(tmp_path / name), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 80, 48, pixels
        see_through = av.VideoFrame.from_ndarray(np.dstack([image, np.full((48, 80), 60, np.uint8)]), "rgba")
        container.mux(video.encode(see_through.reformat(format=pixels)))
        container.mux(video.encode())
    (frame,) = read(tmp_path / name)
    expected = np.asarray(Image.fromarray(image).convert("L").convert("RGB")) if "gray" in pixels else image
    assert np.abs(frame.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("rate", [0.1, 240])
@pytest.mark.parametrize("fragmented", [False, True])
def test_any_rate_whole_or_in_fragments(tmp_path: Path, rate: float, fragmented: bool) -> None:
    path = tmp_path / "clip.mp4"
    options = {"movflags": "frag_keyframe+empty_moov"} if fragmented else {}
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 80, 48, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 48000)
        video.options = {"bf": "0"}
        video.metadata["timecode"] = "01:00:00:00"
        for index, image in enumerate(pictures(4)):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = round(index * 48000 / rate), Fraction(1, 48000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    np.testing.assert_allclose([frame.time for frame in read(path)], np.arange(4) / rate, atol=1e-3)


def test_of_several_films_the_one_that_players_choose(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        films = [container.add_stream("ffv1", rate=25) for _ in range(3)]
        for film, (height, width) in zip(films, ((48, 80), (96, 160), (24, 40)), strict=True):
            film.width, film.height, film.pix_fmt = width, height, "bgr0"
            film.disposition = Disposition.default if height == 96 else Disposition(0)
        for film in films:
            for image in pictures(3, (film.height, film.width)):
                container.mux(film.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(film.encode())
    assert [frame.image.shape for frame in read(tmp_path / "clip.mkv")] == [(96, 160, 3)] * 3


def test_a_size_that_changes_in_the_middle(tmp_path: Path) -> None:
    content = b""
    for size in ((48, 80), (64, 96)):
        content += write_video(tmp_path / "part.ts", pictures(3, size)).read_bytes()
    (tmp_path / "clip.ts").write_bytes(content)
    assert [frame.image.shape for frame in read(tmp_path / "clip.ts")] == [(48, 80, 3)] * 3 + [(64, 96, 3)] * 3
