import cv2
import hydra
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter
from adnet.inference.postprocess import gate
from adnet.inference.protocol import scaled_size
from adnet.models import upsample
from adnet.shared.command import conf_dir

FRAMES = [np.random.default_rng(seed).integers(0, 256, (60, 104, 3), np.uint8) for seed in range(3)]
SIZE = (57, 105)  # like 481 x 857, sides of 8k + 1 that are not both 16k + 1


def shipped(name):
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return instantiate(hydra.compose("evaluate", [f"protocol={name}"]).protocol)


def segment(model, protocol, frames=FRAMES):
    segmenter = VideoSegmenter(model, protocol, SIZE)
    segmenter.start(frames[0])
    return [segmenter.step(frame) for frame in frames]


def test_sizes_are_the_published_ones():
    sizes = [scaled_size((481, 857), scale)[::-1] for scale in shipped("published").scales]
    assert sizes == [(641, 353), (857, 481), (1281, 721)]


def test_presets_say_what_the_paper_and_the_code_say():
    paper, published = shipped("paper"), shipped("published")
    assert (paper.average, paper.threshold, paper.gate, paper.resize) == ("probability", 0.5, False, "aligned")
    assert (published.average, published.gate, published.resize) == ("logits", True, "opencv")
    assert torch.tensor(0.5).sigmoid().item() == pytest.approx(published.threshold, abs=1e-7)
    assert list(paper.scales) == list(published.scales) == [0.75, 1.0, 1.5]
    assert paper.mirror
    assert published.mirror
    assert (shipped("single_scale").scales, shipped("single_scale").mirror) == ([1.0], False)


@pytest.mark.parametrize("name", ["single_scale", "refined", "paper"])
def test_presets_take_encoder_and_fusion_in_one_call(name, tiny_model, monkeypatch):
    """Exports then run both as one network. From a config, the anchors are a list."""
    encoded = []
    monkeypatch.setattr(tiny_model, "logits", lambda _anchor, frames, _flow: frames[:, :1] - 0.5)
    monkeypatch.setattr(tiny_model, "encode", lambda *given: encoded.append(given))
    monkeypatch.setattr(tiny_model, "embed", lambda frames: frames)
    segment(tiny_model, shipped(name), FRAMES[:2])
    assert not encoded


def published_evaluation(model, frames):
    """The published evaluation step by step: for each frame the gated mean of logits."""

    def views(frame):
        for scale in (0.75, 1.0, 1.5):
            image = cv2.resize(frame, tuple(int((side * scale - 1) // 8 * 8 + 1) for side in SIZE[::-1])) / np.float32(
                255
            )
            for view in (image, image[:, ::-1].copy()):
                yield torch.from_numpy(view).permute(2, 0, 1)[None]

    previous, results = None, []
    for frame in frames:
        maps = []
        for i, (anchor, view) in enumerate(zip(views(frames[0]), views(frame), strict=True)):
            logits = upsample(model(anchor, view), frame.shape[:2])
            maps.append(logits.flip(3) if i % 2 else logits)
        mean = torch.stack(maps).mean(0)[0, 0].numpy()
        results.append(gate(mean, previous))
        previous = mean > 0.5
    return results


@torch.no_grad()
def test_is_the_published_evaluation(tiny_model, monkeypatch):
    model = tiny_model.eval()
    # A gate that bites at this size, too, and logits that are seldom within rounding of the threshold.
    monkeypatch.setitem(gate.__globals__, "_DILATION", np.ones((5, 5), np.uint8))
    monkeypatch.setitem(gate.__globals__, "_OPENING", np.ones((3, 3), np.uint8))
    monkeypatch.setattr(np, "count_nonzero", lambda mask: 6_000 * bool(mask.any()))
    raw = published_evaluation(model, FRAMES[:1])[0]
    model.head[4].weight /= float(raw.std())
    model.head[4].bias.copy_(0.5 + (model.head[4].bias - float(np.median(raw))) / float(raw.std()))

    expected = published_evaluation(model, FRAMES[:2])
    results = segment(model, shipped("published"), FRAMES[:2])
    assert any((logits == 0).any() for logits in expected[1:])
    for probability, logits in zip(results, expected, strict=True):
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits)), atol=1e-4)
        sure = np.abs(logits - 0.5) > 1e-3
        assert np.array_equal((probability > shipped("published").threshold)[sure], (logits > 0.5)[sure])


@torch.no_grad()
def test_paper_averages_probabilities(tiny_model):
    model = tiny_model.eval()
    result = segment(model, Protocol("two", scales=(0.75, 1.0)), FRAMES[:1])[0]
    frame = torch.from_numpy(FRAMES[0]).permute(2, 0, 1)[None] / 255
    maps = []
    for size in (scaled_size(SIZE, 0.75), scaled_size(SIZE, 1.0)):
        view = upsample(frame, size)
        maps.append(upsample(model(view, view), (60, 104)).sigmoid())
    np.testing.assert_allclose(result, torch.stack(maps).mean(0)[0, 0], atol=1e-5)


@torch.no_grad()
def test_a_new_video_forgets_the_last(tiny_model):
    protocol = Protocol("gated", average="logits", gate=True)
    segmenter = VideoSegmenter(tiny_model, protocol, SIZE)
    runs = []
    for _ in range(2):
        segmenter.start(FRAMES[0])
        runs.append([segmenter.step(frame) for frame in FRAMES])
    assert all(np.array_equal(one, two) for one, two in zip(*runs, strict=True))


@torch.no_grad()
def test_the_frame_before_as_an_anchor(tiny_model_config):
    torch.manual_seed(0)
    model = instantiate(tiny_model_config | {"variant": "cross"}).eval()
    embeddings = [model.embed(upsample(torch.from_numpy(f).permute(2, 0, 1)[None] / 255, SIZE)) for f in FRAMES]
    first, middle, last = embeddings
    expected = upsample(model.segment(torch.cat([first, middle], dim=2), last), (60, 104)).sigmoid()[0, 0]
    result = segment(model, Protocol("both", anchors=("first", "previous")))
    np.testing.assert_allclose(result[-1], expected, atol=1e-5)
    alone = upsample(model.segment(first, first), (60, 104)).sigmoid()[0, 0]
    np.testing.assert_allclose(result[0], alone, atol=1e-5)
    previous = upsample(model.segment(middle, last), (60, 104)).sigmoid()[0, 0]
    np.testing.assert_allclose(segment(model, Protocol("before", anchors=("previous",)))[-1], previous, atol=1e-5)


def test_several_anchors_need_a_variant_that_takes_them(tiny_model):
    with pytest.raises(UserError, match=r"'full' takes one anchor"):
        VideoSegmenter(tiny_model, Protocol("both", anchors=("first", "previous")), SIZE)


def test_no_anchor_yet(tiny_model):
    with pytest.raises(UserError, match="start"):
        VideoSegmenter(tiny_model, Protocol("one"), SIZE).step(FRAMES[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "median"}, r"protocol\.average='median': choose from probability, logits"),
        ({"resize": "nearest"}, r"protocol\.resize"),
        ({"anchors": ("second",)}, r"protocol\.anchors.*first, previous"),
        ({"anchors": ()}, r"protocol\.anchors"),
        ({"gate": True}, r"protocol\.average=logits"),
    ],
)
def test_unknown_choices_are_named(options, message):
    with pytest.raises(UserError, match=message):
        Protocol("other", **options)


@pytest.mark.parametrize(
    ("options", "stateful"),
    [({}, False), ({"gate": True, "average": "logits"}, True), ({"anchors": ("previous",)}, True)],
)
def test_which_protocols_must_start_at_the_first_frame(options, stateful):
    assert Protocol("one", **options).stateful is stateful


@pytest.mark.parametrize(
    "name", ["extension_cross", "extension_cross_two_anchors", "extension_random_anchor", "extension_aux"]
)
def test_every_extension_composes(name):
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = hydra.compose(
            "train", [f"+experiment={name}", "scale=smoke", "model.encoder.pretrained=false", "data=synthetic"]
        )
    model, protocol = instantiate(cfg.model), instantiate(cfg.protocol)
    assert len(protocol.anchors) == 1 or model.takes_several_anchors
    assert (model.aux is None) == (name != "extension_aux")
