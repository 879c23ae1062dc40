import hashlib

import pytest
import torch
from torch import nn

from adnet.errors import UserError
from adnet.models import BRANCHES, VARIANTS, ADNet, Branch, DeepLabV3, Encoded, model_cost, upsample
from adnet.models.adnet import no_motion

ANCHOR, FRAME = torch.rand(2, 2, 3, 33, 49, generator=torch.Generator().manual_seed(0))


def tiny(variant="full", seed=0, **options):
    torch.manual_seed(seed)
    channels = 8 if VARIANTS[variant] else 1
    motion = any(BRANCHES[branch].uses_motion for branch in VARIANTS[variant])
    encoders = [
        tiny_encoder(channels, shallow=options.get("decoder", False)),
        tiny_encoder(channels) if motion else None,
    ]
    return ADNet(encoders[0], variant, head_channels=8, motion=encoders[1], **options)


def tiny_encoder(channels=8, shallow=False):
    options = {"aspp_rates": (1, 2), "aspp_channels": 8, "embedding_channels": channels, "shallow": shallow}
    return DeepLabV3("test_resnet", pretrained=False, **options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_at_stride_8_and_the_same_with_a_cached_anchor(variant):
    model = tiny(variant).eval()
    with torch.no_grad():
        logits = model(ANCHOR, FRAME)
        cached = model.segment(model.embed(ANCHOR), model.encode(FRAME))
    assert logits.shape == (2, 1, 5, 7)
    torch.testing.assert_close(logits, cached)
    assert upsample(logits, (33, 49)).shape == (2, 1, 33, 49)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_anchor_counts_only_where_the_variant_says_so(variant):
    model = tiny(variant).eval()
    X_0, other, X_t = torch.randn(
        3, 1, model.encoder.embedding_channels, 3, 4, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        frame = Encoded(X_t, motion=X_t)
        same = torch.equal(model.segment(X_0, frame), model.segment(other, frame))
    assert same is not model.needs_anchor
    assert model.needs_anchor is (variant not in ("baseline", "intra", "motion"))


@pytest.mark.parametrize(
    ("said", "several"), [({}, False), ({"any_grid": True}, True), ({"any_grid": True, "uses_motion": True}, True)]
)
def test_a_branch_that_is_added_gets_its_anchor(monkeypatch, said, several):
    """And its flow, if it says so."""
    like = Branch(lambda anchor, frame: 100 * frame.embedding * anchor.mean((2, 3), keepdim=True), **said)
    monkeypatch.setitem(BRANCHES, "like", like)
    monkeypatch.setitem(VARIANTS, "likeness", ("like", "skip"))
    model = tiny("likeness").eval()
    assert (model.needs_anchor, model.takes_several_anchors) == (True, several)
    assert model.needs_flow is said.get("uses_motion", False)
    with torch.no_grad():
        one, other = model(ANCHOR, FRAME), model(ANCHOR.flip(0), FRAME)
        cached = model.segment(model.embed(ANCHOR), model.encode(FRAME))
    assert not torch.allclose(one, other)
    torch.testing.assert_close(one, cached)


def test_one_anchor_serves_a_batch_of_frames():
    model = tiny().eval()
    with torch.no_grad():
        anchor, frames = model.embed(ANCHOR[:1]), model.embed(FRAME)
        torch.testing.assert_close(model.segment(anchor, frames), model.segment(anchor.repeat(2, 1, 1, 1), frames))


def test_concatenation_is_diffused_intra_current():
    model = tiny("full").eval()
    seen = []
    model.head[0].register_forward_hook(lambda _module, args, _out: seen.append(args[0]))
    X = torch.randn(1, 8, 3, 4)
    with torch.no_grad():
        model.segment(torch.zeros_like(X), X)
    diffused, _intra, current = seen[0].chunk(3, dim=1)
    # A zero anchor is equally like every pixel.
    torch.testing.assert_close(diffused, X.mean((2, 3), keepdim=True).expand_as(X))
    assert torch.equal(current, X)


@pytest.mark.parametrize(
    ("variant", "decoder"), [("full", False), ("full", True), ("full_motion", False), ("full_motion", True)]
)
def test_every_parameter_is_trained(variant, decoder):
    model = tiny(variant, aux_weight=0.4, decoder=decoder)
    logits, aux = model.forward_with_aux(ANCHOR, FRAME, torch.rand_like(FRAME))
    (logits.square().mean() + aux.square().mean()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_auxiliary_head_sees_the_frame_alone_and_changes_nothing_else():
    model, plain = tiny(aux_weight=0.4).eval(), tiny().eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("aux.")})
    with torch.no_grad():
        logits, aux = model.forward_with_aux(ANCHOR, FRAME)
        torch.testing.assert_close(logits, plain(ANCHOR, FRAME))
        torch.testing.assert_close(aux, model.forward_with_aux(FRAME, FRAME)[1])
        assert plain.forward_with_aux(ANCHOR, FRAME)[1] is None
        torch.testing.assert_close(plain.forward_with_aux(ANCHOR, FRAME)[0], logits)
    assert aux.shape == logits.shape
    assert not [key for key in plain.state_dict() if key.startswith("aux")]


def test_auxiliary_head_of_the_baseline():
    logits, aux = tiny("baseline", aux_weight=1.0).forward_with_aux(ANCHOR, FRAME)
    assert logits.shape == aux.shape == (2, 1, 5, 7)


@pytest.mark.parametrize("variant", ["intra", "full", "cross"])
def test_only_cross_takes_several_anchors(variant):
    assert tiny(variant).takes_several_anchors is (variant == "cross")


@pytest.mark.parametrize(
    ("variant", "message"),
    [("ful", "did you mean full"), ("anchor_difusion", "did you mean anchor_diffusion"), ("?", "full")],
)
def test_an_unknown_variant_gets_the_nearest_name(variant, message):
    with pytest.raises(UserError, match=message):
        ADNet(tiny().encoder, variant)


def test_a_baseline_with_embeddings_is_refused():
    with pytest.raises(UserError, match="embedding_channels to 1, not 8"):
        ADNet(tiny().encoder, "baseline")


@pytest.mark.parametrize(
    ("variant", "channels", "digest"),
    [
        ("full", 128, "f01949696321b33a10991d659a0b07228d612b4cdedeee408259139f520eacf4"),
        ("baseline", 1, "e3d62363a74471f7532a82095c7cc69822df72448b08dfebf28c4dcd93ec5521"),
    ],
)
def test_names_and_shapes_of_lite_checkpoints_stay(variant, channels, digest):
    encoder = DeepLabV3("tf_efficientnet_lite0", False, 8, [6, 12, 18], 128, channels, 0.1, True, multi_grid=[1, 2, 4])
    state = ADNet(encoder, variant).state_dict()
    listed = "\n".join(f"{key} {list(value.shape)}" for key, value in state.items())
    assert hashlib.sha256(listed.encode()).hexdigest() == digest


def test_cost_counts_parameters_and_twice_the_multiply_adds():
    model = tiny("intra")
    small, large = model_cost(model, (33, 49)), model_cost(model, (65, 97))
    assert small.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert 3 < large.gflops / small.gflops < 6
    assert "0.0 GFLOPs" not in str(large)
    assert next(model.parameters()).device.type == "cpu"


@pytest.mark.parametrize("variant", ["full", "full_motion", "baseline"])
def test_a_decoder_gives_logits_at_stride_2_from_the_shallow_features_of_the_frame(variant):
    model = tiny(variant, decoder=True).eval()
    flow = torch.rand_like(FRAME)
    with torch.no_grad():
        encoded = model.encode(FRAME, flow)
        logits = model.segment(model.embed(ANCHOR), encoded)
        assert logits.shape == (2, 1, 17, 25)
        assert [tuple(features.shape[-2:]) for features in encoded.shallow] == [(9, 13), (17, 25)]
        torch.testing.assert_close(model(ANCHOR, FRAME, flow), logits)
        blind = encoded._replace(shallow=tuple(map(torch.zeros_like, encoded.shallow)))
        assert not torch.allclose(model.segment(model.embed(ANCHOR), blind), logits)


def test_motion_is_the_flow_s_and_no_flow_is_no_motion():
    model = tiny("full_motion").eval()
    flow = torch.rand_like(FRAME)
    with torch.no_grad():
        assert torch.equal(model.encode(FRAME, flow).motion, model.motion(flow))
        assert torch.equal(model(ANCHOR, FRAME), model(ANCHOR, FRAME, no_motion(FRAME)))
        assert not torch.allclose(model(ANCHOR, FRAME), model(ANCHOR, FRAME, flow))
        assert torch.equal(model.embed(FRAME), model.encode(FRAME, flow).embedding)


def seen_by(part, call):
    """Run `call`; return the arguments of each call of the module `part`."""
    calls = []
    hook = part.register_forward_pre_hook(lambda _, args: calls.append(args))
    call()
    hook.remove()
    return calls


@pytest.mark.parametrize("decoder", [False, True])
def test_appearance_is_hidden_in_training_alone_and_only_from_frames_with_motion(decoder):
    model = tiny("full_motion", appearance_dropout=1.0, decoder=decoder)
    flow = no_motion(FRAME).clone()
    flow[1] += 0.1

    def seen(training, flow):
        [(outputs,)] = seen_by(model.train(training).head, lambda: model(ANCHOR, FRAME, flow))
        outputs = outputs.unflatten(1, (4, 8))  # anchor diffusion, intra-frame, motion, skip
        fine = seen_by(model.decoder, lambda: model(ANCHOR, FRAME, flow))[0][1] if decoder else ()
        return [[bool(x[frame].any()) for x in (*outputs.unbind(1), *fine)] for frame in range(2)]

    every = [True] * (4 + 2 * decoder)
    assert seen(True, flow) == [every, [False, False, True, False, *[False] * 2 * decoder]]
    assert seen(False, flow) == seen(True, None) == [every, every]


def test_a_share_of_the_frames_is_hidden_and_not_encoded():
    model = tiny("full_motion", appearance_dropout=0.3).train()
    frames = FRAME[:1].repeat(400, 1, 1, 1)[..., :9, :9]
    [(encoded,)] = seen_by(model.encoder.backbone, lambda: model(frames, frames, torch.rand_like(frames)))
    assert 240 < len(encoded) / 2 < 320


@pytest.mark.parametrize("variant", ["full_motion", "motion"])
@pytest.mark.parametrize("decoder", [False, True])
def test_frames_that_are_hidden_give_the_same_gradients_whether_they_are_encoded_or_not(monkeypatch, variant, decoder):
    """With the statistics of batch norm held fixed, for which each frame counts."""
    model = tiny(variant, appearance_dropout=0.5, decoder=decoder, dropout=0.0).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout2d):
            module.eval()
    anchor, frame, flow = torch.rand(3, 8, 3, 33, 49, generator=torch.Generator().manual_seed(1))

    def run():
        torch.manual_seed(3)
        model.zero_grad()
        [(encoded,)] = seen_by(model.encoder.backbone, lambda: model(anchor, frame, flow).square().sum().backward())
        return len(encoded), [None if p.grad is None else p.grad.clone() for p in model.parameters()]

    few, gradients = run()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    whole, expected = run()
    assert few < whole == 8 * (1 + model.needs_anchor)
    torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shown", [0, 1])
def test_a_batch_of_which_one_pair_or_none_is_shown_is_encoded_whole(monkeypatch, shown):
    """Batch norm cannot learn from a single value, and DDP waits for each weight's gradient."""
    model = tiny("full_motion", appearance_dropout=0.5).train()
    monkeypatch.setattr(torch, "rand", lambda n, **_: torch.arange(n) < shown)
    logits = model(ANCHOR, FRAME, torch.rand_like(FRAME))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ADNet(tiny_encoder(), "full_motion"), "'full_motion' needs a motion encoder"),
        (lambda: ADNet(tiny_encoder(), "full", motion=tiny_encoder()), "'full' has no motion encoder"),
        (lambda: tiny("full", appearance_dropout=0.1), "hides all but motion, which 'full' does not see"),
        (lambda: ADNet(tiny_encoder(), "full", decoder=True), r"set model\.encoder\.shallow=true"),
    ],
)
def test_parts_that_do_not_fit_are_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()


def test_cost_of_one_convolution_by_hand():
    class Conv(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = nn.Conv2d(3, 16, 3, padding=1, bias=False)

        def encode(self, frames):
            return Encoded(self.convolution(frames))

        def segment(self, _anchor, frame):
            return frame.embedding

    cost = model_cost(Conv(), (10, 20))
    assert cost.parameters == 3 * 16 * 9
    assert cost.gflops == pytest.approx(2 * 3 * 16 * 9 * 200 / 1e9)
