from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from networks import settle
from torch.nn.functional import interpolate
from videos import InstantModel, MotionModel

from adnet.data.flow import OpticalFlow, Vectors, mirrored_flow, to_flow_input
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference import segmenter as segmenter_module
from adnet.inference.postprocess import guided_filter
from adnet.inference.protocol import fitted_size, scaled_size
from adnet.inference.smoothing import TemporalAverage, link
from adnet.models import ADNet, Encoded

SIZE = (33, 57)


def frames(number: int, size: tuple[int, int] = (40, 70)) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (number, *size, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that networks see batches in order; `two_threads` undoes it."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


threads_here = torch.get_num_threads  # what `two_threads` doesn't change


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = threads_here()
    torch.set_num_threads(2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def embedded(tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that `tiny_model` was asked to embed, as anchors or as frames."""
    shapes: list[torch.Size] = []

    def spy(original: Callable[..., Any], images: torch.Tensor, *flow: torch.Tensor | None) -> Any:
        shapes.append(images.shape)
        return original(images, *flow)

    for name in ("embed", "encode"):
        monkeypatch.setattr(tiny_model, name, partial(spy, getattr(tiny_model, name)))
    return shapes


@pytest.fixture
def motion_network(tiny_model_config: dict[str, Any]) -> ADNet:
    """With a motion branch and a decoder."""
    motion = {key: value for key, value in tiny_model_config["encoder"].items() if key != "shallow"}
    config = tiny_model_config | {"variant": "full_motion", "decoder": True, "motion": motion}
    return settle(instantiate(config | {"encoder": tiny_model_config["encoder"] | {"shallow": True}}), SIZE)


def test_anchor_is_embedded_once_a_video_and_view(tiny_model: ADNet, embedded: list[torch.Size]) -> None:
    segmenter = VideoSegmenter(tiny_model, Protocol("test", scales=(0.75, 1.0), mirror=True), SIZE)
    video = frames(3)
    segmenter.start(video[0])
    assert [tuple(shape) for shape in embedded] == [(1, 3, 17, 41), (1, 3, 17, 41), (1, 3, 33, 57), (1, 3, 33, 57)]
    for frame in video:
        segmenter.step(frame)
    assert len(embedded) == 4 + 3 * 4
    segmenter.start(video[1])
    assert len(embedded) == 4 + 3 * 4 + 4


def test_no_anchor_is_embedded_where_none_is_used(
    tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: ADNet = instantiate(tiny_model_config | {"variant": "intra"})
    segmenter = VideoSegmenter(model, Protocol("test"), SIZE)
    alone = segmenter.step(frames(1)[0])
    monkeypatch.setattr(model, "embed", None)
    segmenter.start(frames(1)[0])
    monkeypatch.undo()
    np.testing.assert_array_equal(segmenter.step(frames(1)[0]), alone)


def test_step_without_start(tiny_model: ADNet) -> None:
    with pytest.raises(UserError, match="start"):
        VideoSegmenter(tiny_model, Protocol("test"), SIZE).step(frames(1)[0])


def test_probability_is_the_mean_over_scales_and_mirror(tiny_model: ADNet) -> None:
    tiny_model.eval()
    anchor, frame = frames(2)
    segmenter = VideoSegmenter(tiny_model, Protocol("test", scales=(0.75, 1.0, 1.5), mirror=True), SIZE)
    segmenter.start(anchor)
    out = segmenter.step(frame)

    probabilities = []
    for size in ((17, 41), (33, 57), (49, 81)):
        for flip in (False, True):
            embeddings = []
            for image in (anchor, frame):
                image = image[:, ::-1].copy() if flip else image
                pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
                resized = interpolate(pixels, size, mode="bilinear", align_corners=True)
                with torch.no_grad():
                    embeddings.append(tiny_model.encoder(resized))
            with torch.no_grad():
                logits = interpolate(tiny_model.segment(*embeddings), (40, 70), mode="bilinear", align_corners=True)
            probability = 1 / (1 + np.exp(-logits[0, 0].numpy().astype(np.float64)))
            probabilities.append(probability[:, ::-1] if flip else probability)
    np.testing.assert_allclose(out, np.mean(probabilities, axis=0), atol=1e-5)
    assert np.ptp(probabilities, axis=0).max() > 1e-4  # the views do differ


def test_mirrored_video_gives_mirrored_probabilities(tiny_model: ADNet) -> None:
    video, outputs = frames(2), []
    segmenter = VideoSegmenter(tiny_model, Protocol("test", mirror=True), SIZE)
    for flip in (1, -1):
        segmenter.start(video[0][:, ::flip].copy())
        outputs.append(segmenter.step(video[1][:, ::flip].copy())[:, ::flip])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


def test_refined_probabilities_are_enlarged_along_the_frame_s_outlines(tiny_model: ADNet) -> None:
    """Those of the test size; a frame that is no larger stays as it is."""
    plain, refined = (VideoSegmenter(tiny_model, Protocol("test", refine=refine), SIZE) for refine in (False, True))
    large = frames(2)
    small = [np.ascontiguousarray(frame[:33, :57]) for frame in large]
    np.testing.assert_array_equal(list(refined.segment(small)), list(plain.segment(small)))
    pixels = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        embeddings = tiny_model.encoder(interpolate(pixels, SIZE, mode="bilinear", align_corners=True))
        logits = tiny_model.segment(embeddings[:1].expand_as(embeddings), embeddings)
    averages = interpolate(logits, SIZE, mode="bilinear", align_corners=True).sigmoid()[:, 0].numpy()
    for frame, average, found in zip(large, averages, refined.segment(large), strict=True):
        np.testing.assert_allclose(found, guided_filter(frame, average), atol=1e-4)


@pytest.mark.parametrize("needs_flow", [False, True])
def test_smoothed_probabilities_are_averaged_along_the_flow(
    tiny_model: ADNet, motion_network: ADNet, needs_flow: bool
) -> None:
    """However the network comes by its own flow: one frame at a time, a whole video, or with flow that is known."""
    model = motion_network if needs_flow else tiny_model
    plain, smooth = (VideoSegmenter(model, Protocol("test", smooth=smooth), SIZE) for smooth in (False, True))
    video, average = frames(4), TemporalAverage()
    befores = [None, *video[:-1]]
    links = [
        None if before is None else link(frame, before, OpticalFlow())
        for frame, before in zip(video, befores, strict=True)
    ]
    expected = [average.step(*given) for given in zip(plain.segment(video), links, strict=True)]
    np.testing.assert_array_equal(list(smooth.segment(video)), expected)
    known = [-OpticalFlow()(video[0], video[1]), *(OpticalFlow()(*pair) for pair in pairwise(reversed(video)))]
    smooth.start(video[0])
    np.testing.assert_array_equal(list(smooth.steps(video, flows=[known[0], *known[:0:-1]])), expected)
    if not needs_flow:
        smooth.start(video[0])
        np.testing.assert_array_equal([smooth.step(frame) for frame in video], expected)


@pytest.mark.parametrize("size", [(40, 70), (33, 57), (7, 91)])
def test_output_is_a_probability_at_the_frame_s_own_size(tiny_model: ADNet, size: tuple[int, int]) -> None:
    segmenter = VideoSegmenter(tiny_model.train(), Protocol("test"), SIZE)
    segmenter.start(frames(1)[0])
    out = segmenter.step(frames(1, size)[0])
    assert out.shape == size
    assert out.dtype == np.float32
    assert 0 <= out.min() <= out.max() <= 1
    np.testing.assert_array_equal(out, segmenter.step(frames(1, size)[0]))  # no dropout


@pytest.mark.parametrize(("scale", "size"), [(0.75, (353, 641)), (1.0, (481, 857)), (1.5, (721, 1281))])
def test_scaled_sizes_are_the_published_ones(scale: float, size: tuple[int, int]) -> None:
    assert scaled_size((481, 857), scale) == size


@pytest.mark.parametrize(("scale", "size"), [(0.75, (193, 337)), (1.0, (257, 449)), (1.5, (385, 673)), (0.01, (1, 1))])
def test_scaled_sizes_stay_on_the_grid_of_output_stride_16(scale: float, size: tuple[int, int]) -> None:
    assert scaled_size((257, 449), scale) == size


def test_segment_is_start_and_step(tiny_model: ADNet) -> None:
    video = frames(3)
    segmenter = VideoSegmenter(tiny_model, Protocol("test"), SIZE)
    segmenter.start(video[0])
    expected = [segmenter.step(frame) for frame in video]
    segmenter.start(video[2])
    np.testing.assert_array_equal(list(segmenter.segment(iter(video))), expected)
    assert list(segmenter.segment([])) == []


@pytest.mark.parametrize(
    "options",
    [
        {"scales": (0.75, 1.0), "mirror": True},
        {"average": "logits", "gate": True},
        {"anchors": ("previous",)},
        {"anchors": ("first", "previous")},
    ],
    ids=str,
)
def test_batches_change_nothing(tiny_model_config: dict[str, Any], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = instantiate(tiny_model_config | {"variant": "cross"})
    # Frames of several sizes in one batch, and a last batch that isn't full.
    video = [frame for size in ((40, 70), (64, 33), (40, 70)) for frame in frames(2, size)] + frames(1)
    one, three = (
        list(VideoSegmenter(model, Protocol("test", **options), SIZE, batch_size=size).segment(video))
        for size in (1, 3)
    )
    assert [p.shape for p in three] == [frame.shape[:2] for frame in video]
    for alone, together in zip(one, three, strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_frames_are_read_a_batch_at_a_time_and_not_far_ahead() -> None:
    model, read = InstantModel(), 0

    def video() -> Iterator[np.ndarray]:
        nonlocal read
        for frame in frames(70):
            read += 1
            yield frame

    probabilities = VideoSegmenter(model, Protocol("test"), SIZE, batch_size=3).segment(video())
    for number in range(1, 5):
        next(probabilities)
        assert read <= 3 * -(-number // 3) + 3
    probabilities.close()
    assert read <= 9
    assert model.batches == [1, 3, 3, 3][: len(model.batches)]


@pytest.mark.usefixtures(
    "motion_network", "two_threads"
)  # in this order: on a busy machine, two threads wait for each other
def test_two_frames_in_flight_change_no_bit(motion_network: ADNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a video whose size changes, with flow, a mirror, an average over time and a filter on the frame."""
    video = [frame for size in ((40, 70), (64, 33), (40, 70)) for frame in frames(4, size)]
    segmenter = VideoSegmenter(motion_network, Protocol("test", mirror=True, smooth=True, refine=True), SIZE)
    settings = torch.get_num_threads(), cv2.getNumThreads()
    meeting, encode = threading.Barrier(2), motion_network.encode

    def both(*given: Any) -> Encoded:
        meeting.wait(30)  # fails, unless another frame is encoded at the same time
        return encode(*given)

    monkeypatch.setattr(motion_network, "encode", both)
    got, left = [], set()
    for probability in segmenter.segment(iter(video)):
        got.append(probability)
        left.add(threads_here())
    assert left == {1}  # for what is done in this thread, since each worker has one of the two
    monkeypatch.setattr(motion_network, "encode", encode)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == settings
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    for together, alone in zip(got, segmenter.segment(iter(video)), strict=True):
        np.testing.assert_array_equal(together, alone)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("options", [{"average": "logits", "gate": True}, {"anchors": ("previous",)}], ids=str)
def test_what_depends_on_the_frame_before_gets_it_with_two_threads(
    tiny_model_config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = instantiate(tiny_model_config | {"variant": "cross"})
    segmenter = VideoSegmenter(model, Protocol("test", **options), SIZE)
    got = list(segmenter.segment(frames(8)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    np.testing.assert_array_equal(got, list(segmenter.segment(frames(8))))


class Failing(InstantModel):
    """Raises at a white frame, before the slow frame ahead of it is done."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.failed = error, threading.Event()

    def encode(self, frames: torch.Tensor, flow: torch.Tensor | None = None) -> Encoded:
        if frames.mean() > 0.99:
            self.failed.set()
            raise self.error
        if frames.mean() < 0.01:
            assert self.failed.wait(30)
        return super().encode(frames, flow)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("broken"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (torch.OutOfMemoryError("CUDA out of memory"), UserError),
    ],
    ids=["error", "ctrl_c", "memory"],
)
def test_an_error_in_flight_comes_in_its_place(error: BaseException, raised: type[BaseException]) -> None:
    before, video = threading.active_count(), frames(12)
    video[4][:], video[5][:] = 0, 255
    done: list[np.ndarray] = []  # CPython's `extend` keeps what came before an error
    with pytest.raises(raised):
        done.extend(VideoSegmenter(Failing(error), Protocol("test"), SIZE).segment(iter(video)))
    assert len(done) == 5
    np.testing.assert_array_equal(done, list(VideoSegmenter(InstantModel(), Protocol("test"), SIZE).segment(video))[:5])
    assert threading.active_count() == before


@pytest.mark.usefixtures("two_threads")
def test_a_camera_that_stalls_holds_back_no_mask() -> None:
    """Here until the mask of its last frame is there."""
    video, got, masks = frames(5), list[np.ndarray](), threading.Semaphore(0)

    def camera() -> Iterator[np.ndarray]:
        for frame in video:
            yield frame
            assert masks.acquire(timeout=30)

    segmenter = VideoSegmenter(MotionModel(), Protocol("test"), SIZE)
    segmenter.start(video[0])
    for probability in segmenter.steps(camera(), live=True):
        got.append(probability)
        masks.release()
    segmenter.start(video[0])
    np.testing.assert_array_equal(got, [segmenter.step(frame) for frame in video])


@pytest.mark.usefixtures("two_threads")
def test_a_frame_that_cannot_be_read_ends_the_rest() -> None:
    def video() -> Iterator[np.ndarray]:
        yield from frames(6)
        raise UserError("frame 6 is damaged")

    done, before = list[np.ndarray](), threading.active_count()
    with pytest.raises(UserError, match="frame 6 is damaged"):
        done.extend(VideoSegmenter(InstantModel(), Protocol("test"), SIZE).segment(video()))
    assert len(done) == 6
    assert threading.active_count() == before


class SmallDevice(InstantModel):
    """Has memory for so many frames."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        super().__init__()
        self.room, self.error = room, error

    def embed(self, frames: torch.Tensor) -> torch.Tensor:
        if len(frames) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")
        return super().embed(frames)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_device_out_of_memory_gets_smaller_batches(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    video = frames(19)
    expected = list(VideoSegmenter(InstantModel(), Protocol("test"), SIZE).segment(video))
    model = SmallDevice(3, error)
    with caplog.at_level(logging.WARNING, "adnet"):
        result = list(VideoSegmenter(model, Protocol("test"), SIZE, batch_size=8).segment(video))
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert model.batches == [1] + [2] * 9 + [1]
    assert caplog.messages == ["out of memory with 8 frames at a time: continuing with 2"]


@pytest.mark.usefixtures("two_threads")
def test_a_device_runs_out_of_memory_with_two_batches_in_flight() -> None:
    expected = list(VideoSegmenter(InstantModel(), Protocol("test"), SIZE).segment(frames(40)))
    model = SmallDevice(8)

    def video() -> Iterator[np.ndarray]:
        for index, frame in enumerate(frames(40)):
            model.room = max(1, 8 - index // 5)
            yield frame

    result = list(VideoSegmenter(model, Protocol("test"), SIZE, batch_size=8).segment(video()))
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_batch_that_ran_out_of_memory_leaves_no_mask_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first frame of all has no mask before it, the second time it is segmented neither."""
    video = [np.zeros((160, 280, 3), np.uint8) for _ in range(3)]
    for frame in video:
        frame[:80, :120] = 255  # a mask that gates; far from it lies something else
        frame[140:, 260:] = 255
    protocol = Protocol("test", average="logits", gate=True)
    expected = list(VideoSegmenter(InstantModel(), protocol, SIZE).segment(video))
    calls, upsample = 0, segmenter_module.upsample

    def limited(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        nonlocal calls
        calls += size == (160, 280)
        if calls == 2:
            calls += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return upsample(image, size)

    monkeypatch.setattr(segmenter_module, "upsample", limited)
    result = list(VideoSegmenter(InstantModel(), protocol, SIZE, batch_size=2).segment(video))
    assert calls == 6  # the first frame was done twice
    np.testing.assert_array_equal(np.array(result), np.array(expected))


def test_no_memory_for_one_frame() -> None:
    with pytest.raises(UserError, match=r"no memory for one frame at 33x57.*protocol=single_scale") as caught:
        VideoSegmenter(SmallDevice(0), Protocol("test"), SIZE).start(frames(1)[0])
    assert "\n" not in str(caught.value)
    model = SmallDevice(1)
    segmenter = VideoSegmenter(model, Protocol("test"), SIZE)
    segmenter.start(frames(1)[0])
    model.room = 0
    with pytest.raises(UserError, match="no memory for one frame"):
        segmenter.step(frames(1)[0])


@pytest.mark.parametrize("scales", [(), (0,), (1.0, -0.5)])
def test_scales_are_above_zero(scales: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"protocol\.scales is \[.*\]; give one or more above 0"):
        Protocol("test", scales=scales)


def test_a_scale_leaves_pixels() -> None:
    with pytest.raises(UserError, match=r"0\.1 of 33x57 leaves fewer than 9 pixels"):
        VideoSegmenter(InstantModel(), Protocol("test", scales=(1.0, 0.1)), SIZE)


def test_other_errors_of_the_device_are_its_own() -> None:
    class Broken(InstantModel):
        def embed(self, frames: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        VideoSegmenter(Broken(), Protocol("test"), SIZE).start(frames(1)[0])


def brightness(frame: np.ndarray, neighbour: np.ndarray) -> Vectors:
    """An optical flow that tells the two frames by their first pixels."""
    flow = np.zeros((*frame.shape[:2], 2), np.int8)
    flow[..., 0] = int(frame[0, 0, 0]) // 4 - int(neighbour[0, 0, 0]) // 4
    return flow


def given_flow(*pairs: tuple[np.ndarray, np.ndarray] | None, sign: tuple[int, ...] = ()) -> torch.Tensor:
    """What the network should have got: the flow of each pair of frames, none where there is no pair."""
    flows = [np.zeros((1, 1, 2), np.int8) if pair is None else brightness(*pair)[:1, :1] for pair in pairs]
    signs = sign or (1,) * len(flows)
    flows = [number * flow for number, flow in zip(signs, flows, strict=True)]
    return torch.stack([to_flow_input(flow)[:, 0, 0] for flow in flows])


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_each_frame_has_its_flow_to_the_one_before(batch_size: int) -> None:
    model, (a, b, c, d) = MotionModel(), frames(4)
    segmenter = VideoSegmenter(model, Protocol("test"), SIZE, batch_size, flow=brightness)
    for _ in range(2):  # a second video starts without the first one's last frame
        model.flows.clear()
        assert len(list(segmenter.segment([a, b, c, d]))) == 4
        got = torch.stack([flow[:, 0, 0] for flow in model.flows])
        expected = given_flow(
            (a, b), (b, a), (c, b), (d, c), sign=(-1, 1, 1, 1)
        )  # the first: to the next, its sign turned
        torch.testing.assert_close(got, expected)
    assert {tuple(flow.shape) for flow in model.flows} == {(3, *SIZE)}


def test_a_live_stream_has_no_flow_at_its_start() -> None:
    model, (a, b, c) = MotionModel(), frames(3)
    segmenter = VideoSegmenter(model, Protocol("test"), SIZE, flow=brightness)
    segmenter.start(a)
    segmenter.step(a)
    segmenter.skip(b)
    segmenter.step(c)
    torch.testing.assert_close(torch.stack([flow[:, 0, 0] for flow in model.flows]), given_flow(None, (c, b)))
    model.flows.clear()
    assert len(list(segmenter.segment([a]))) == 1  # a video of one frame
    segmenter.step(frames(1, (20, 20))[0])  # beside a frame of another size
    torch.testing.assert_close(torch.stack([flow[:, 0, 0] for flow in model.flows]), given_flow(None, None))


def test_a_mirrored_view_has_mirrored_flow() -> None:
    model, (a, b) = MotionModel(), frames(2)
    segmenter = VideoSegmenter(model, Protocol("test", scales=(0.75, 1.0), mirror=True), SIZE, flow=brightness)
    list(segmenter.segment([a, b]))
    views = [flow[None] for flow in model.flows[4:]]
    assert [flow.shape[2:] for flow in views] == [(17, 41), (17, 41), SIZE, SIZE]
    torch.testing.assert_close(views[1], mirrored_flow(views[0]))
    torch.testing.assert_close(views[3], mirrored_flow(views[2]))
    assert not torch.equal(views[2], views[3])


def test_motion_and_decoder_in_batches(motion_network: ADNet) -> None:
    model = motion_network
    video = frames(5)
    one, three = (
        list(VideoSegmenter(model, Protocol("test", mirror=True), SIZE, size, brightness).segment(video))
        for size in (1, 3)
    )
    for alone, together in zip(one, three, strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-5)
    still = VideoSegmenter(model, Protocol("test", mirror=True), SIZE, flow=brightness).segment([video[0]])
    assert np.abs(next(still) - one[0]).max() > 1e-4  # motion says something


def test_batch_size_below_one(tiny_model: ADNet) -> None:
    with pytest.raises(UserError, match="batch_size is 0"):
        VideoSegmenter(tiny_model, Protocol("test"), SIZE, batch_size=0)


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        ((480, 854), (193, 337)),  # DAVIS keeps what it was tested with
        ((1080, 1920), (193, 337)),
        ((1920, 1080), (337, 193)),
        ((500, 500), (257, 257)),
    ],
)
def test_fitted_sizes(frame: tuple[int, int], size: tuple[int, int]) -> None:
    assert fitted_size((193, 337), frame) == size


@pytest.mark.parametrize("size", [(257, 449), (193, 337), (321, 561), (481, 857)])
def test_davis_keeps_every_test_size(size: tuple[int, int]) -> None:
    assert fitted_size(size, (480, 854)) == size


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.sampled_from([(193, 337), (481, 857), (145, 257)]))
def test_fitted_size_keeps_area_and_aspect(frame: tuple[int, int], size: tuple[int, int]) -> None:
    fitted = fitted_size(size, frame)
    stride = 8 if size == (481, 857) else 16
    assert all(side % stride == 1 and side > stride for side in fitted)
    assert fitted_size(size, frame[::-1])[::-1] == fitted_size(size[::-1], frame)
    if 1 / 3 < frame[0] / frame[1] < 3:
        assert fitted[0] * fitted[1] == pytest.approx(size[0] * size[1], rel=0.15)
        assert fitted[0] / fitted[1] == pytest.approx(frame[0] / frame[1], rel=0.15)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.03), ("fp16", 0.005)])
def test_half_precision_gives_nearly_the_same_probabilities(
    tiny_model: ADNet, precision: str, tolerance: float
) -> None:
    video = frames(3)
    expected = list(VideoSegmenter(tiny_model, Protocol("test"), SIZE).segment(video))
    got = list(VideoSegmenter(tiny_model, Protocol("test"), SIZE, precision=precision).segment(video))
    assert all(probability.dtype == np.float32 for probability in got)
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, got, strict=True))
    assert 0 < difference < tolerance
    assert tiny_model.dtype is torch.float32


@pytest.mark.parametrize(
    ("device", "how"), [("cpu", [("to", {})]), ("cuda", [("pinned", {}), ("to", {"non_blocking": True})])]
)
def test_a_gpu_fetches_frames_while_the_cpu_goes_on(
    monkeypatch: pytest.MonkeyPatch, device: str, how: list[tuple[str, dict[str, bool]]]
) -> None:
    segmenter = VideoSegmenter(InstantModel(), Protocol("test", scales=(0.75, 1.0)), SIZE)
    monkeypatch.setattr(InstantModel, "device", torch.device(device))
    calls: list[tuple[str, dict[str, bool]]] = []

    def to(tensor: torch.Tensor, where: torch.device, **options: bool) -> torch.Tensor:
        assert where == torch.device(device)
        calls.append(("to", options))
        return tensor

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        calls.append(("pinned", {}))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    views = segmenter._views([np.zeros((40, 60, 3), np.uint8)])
    assert [view.shape[2:] for view in views] == segmenter.sizes
    assert calls == how  # once, whatever the number of scales


def test_precisions_that_are_refused(tiny_model: ADNet) -> None:
    with pytest.raises(UserError, match="precision=int4: choose from fp32, bf16, fp16"):
        VideoSegmenter(tiny_model, Protocol("test"), SIZE, precision="int4")
    with pytest.raises(UserError, match="precision=bf16 is for backend=torch and compile"):
        VideoSegmenter(InstantModel(), Protocol("test"), SIZE, precision="bf16")


def test_a_compiled_network_sees_one_shape_a_scale(tiny_model: ADNet, embedded: list[torch.Size]) -> None:
    video, protocol = frames(6), Protocol("test", scales=(0.75, 1.0), mirror=True)
    expected = list(VideoSegmenter(tiny_model, protocol, SIZE, batch_size=4).segment(video))
    assert len({*embedded}) == 6  # an anchor, four frames and the last two
    embedded.clear()
    tiny_model.fixed_batch = True
    got = list(VideoSegmenter(tiny_model, protocol, SIZE, batch_size=4).segment(video))
    assert {tuple(shape) for shape in embedded} == {(4, 3, 17, 41), (4, 3, 33, 57)}
    np.testing.assert_allclose(got, expected, atol=1e-5)
