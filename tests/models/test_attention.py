import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from adnet.errors import UserError
from adnet.models import BRANCHES, Encoded, pixel_attention, similarity

sides = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)
quick = settings(deadline=None, max_examples=25)


def embeddings(seed, *shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def explicit(query, key):
    """Eq. 1 and 2 to the letter: one frame, the whole P."""
    X_0, X_t = (embedding.flatten(1).T for embedding in (query, key))
    P = torch.exp(X_0 @ X_t.T / X_0.shape[1] ** 0.5)
    P = P / P.sum(dim=1, keepdim=True)
    return (P @ X_t).T.reshape(query.shape)


def all_points(height, width):
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).reshape(-1, 2)


@quick
@given(seeds, st.integers(1, 3), st.integers(1, 9), sides, sides, sides, sides)
def test_is_the_formula(seed, batch, channels, h0, w0, h, w):
    query, key = embeddings(seed, (batch, channels, h0, w0), (batch, channels, h, w))
    expected = torch.stack([explicit(q, k) for q, k in zip(query, key, strict=True)])
    torch.testing.assert_close(pixel_attention(query, key), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
def test_half_precision_is_the_formula_but_for_its_rounding(dtype, tolerance):
    query, key = embeddings(0, (1, 32, 7, 9), (1, 32, 6, 8))
    expected = explicit(query[0], key[0])
    got = pixel_attention(query.to(dtype), key.to(dtype))[0]
    assert got.dtype is dtype
    assert 0 < (got.double() - expected).abs().max() / expected.abs().max() < tolerance


@quick
@given(seeds, st.integers(1, 9), sides, sides, sides, sides)
def test_rows_of_the_transition_matrix(seed, channels, h0, w0, h, w):
    anchor, current = embeddings(seed, (2, channels, h0, w0), (2, channels, h, w), dtype=torch.float32)
    P = similarity(anchor, current, all_points(h0, w0))
    assert P.shape == (2, h0 * w0, h, w)
    assert (P >= 0).all()
    torch.testing.assert_close(P.sum(dim=(2, 3)), torch.ones(2, h0 * w0))
    diffused = torch.einsum("bkhw,bchw->bck", P, current).reshape(anchor.shape)
    torch.testing.assert_close(diffused, pixel_attention(anchor, current), atol=1e-5, rtol=1e-4)


def test_points_are_row_and_column_and_must_lie_on_the_grid():
    anchor, current = embeddings(0, (1, 4, 3, 5), (1, 4, 3, 5))
    anchor[0, :, 2, 4] = 9 * current[0, :, 1, 3]
    assert similarity(anchor, current, torch.tensor([[2, 4]]))[0, 0].argmax() == 1 * 5 + 3
    for point in ([3, 0], [0, 5], [-1, 0]):
        with pytest.raises(UserError, match=r"off the grid of 3 x 5"):
            similarity(anchor, current, torch.tensor([point]))


@quick
@given(seeds, st.integers(1, 9), sides, sides)
def test_a_frame_that_is_the_anchor_is_diffused_within_itself(seed, channels, h, w):
    current, other = embeddings(seed, (2, channels, h, w), (2, channels, h, w))
    within = BRANCHES["intra_frame"].output(other, Encoded(current))
    assert torch.equal(BRANCHES["anchor_diffusion"].output(current, Encoded(current)), within)
    assert torch.equal(BRANCHES["cross"].output(current, Encoded(current)), within)


@quick
@given(seeds, st.integers(1, 9), sides, sides, st.randoms(use_true_random=False))
def test_permuted_anchor_pixels_permute_the_result(seed, channels, h, w, random):
    anchor, current = embeddings(seed, (1, channels, h, w), (1, channels, h, w))
    order = random.sample(range(h * w), h * w)

    def permuted(x):
        return x.flatten(2)[:, :, order].reshape(x.shape)

    diffused = pixel_attention(anchor, current)
    torch.testing.assert_close(pixel_attention(permuted(anchor), current), permuted(diffused))
    torch.testing.assert_close(pixel_attention(anchor, permuted(current)), diffused)


@quick
@given(seeds, st.integers(1, 9), sides, sides)
def test_the_result_lies_among_the_values(seed, channels, h, w):
    anchor, current = embeddings(seed, (1, channels, 3, 2), (1, channels, h, w))
    diffused, low, high = pixel_attention(anchor, current), current.amin((2, 3), True), current.amax((2, 3), True)
    assert (diffused >= low - 1e-9).all()
    assert (diffused <= high + 1e-9).all()


def test_several_anchors_are_keys_and_values_together():
    first, previous, current = embeddings(3, (1, 4, 2, 3), (1, 4, 2, 3), (1, 4, 2, 3))
    both = BRANCHES["cross"].output(torch.cat([first, previous], dim=2), Encoded(current))
    X = torch.cat([first.flatten(2), previous.flatten(2)], dim=2)[:, :, None]
    torch.testing.assert_close(both, explicit(current[0], X[0])[None])
    torch.testing.assert_close(
        BRANCHES["cross"].output(torch.cat([first, first], dim=2), Encoded(current)),
        BRANCHES["cross"].output(first, Encoded(current)),
    )


def test_gradients():
    query, key = (x.requires_grad_() for x in embeddings(1, (2, 3, 2, 3), (2, 3, 3, 2)))
    assert torch.autograd.gradcheck(pixel_attention, (query, key))


def test_bfloat16_within_its_rounding():
    query, key = embeddings(2, (1, 128, 9, 13), (1, 128, 9, 13), dtype=torch.bfloat16)
    out = pixel_attention(query, key)
    exact = pixel_attention(query.double(), key.double())
    assert out.dtype == torch.bfloat16
    # A rounding of P and one of the result, each 2^-9 of the largest value.
    assert (out.double() - exact).abs().max() <= 2 * 2**-8 * key.abs().max().double()


class _Largest(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_matrix_is_never_made(memory_format):
    pixels = 24 * 32
    anchor, current = (
        x.contiguous(memory_format=memory_format).requires_grad_()
        for x in embeddings(4, (1, 16, 24, 32), (1, 16, 24, 32), dtype=torch.float32)
    )
    with _Largest() as largest:
        for branch in ("anchor_diffusion", "intra_frame", "cross"):
            BRANCHES[branch].output(anchor, Encoded(current)).square().mean().backward()
    assert 0 < largest.elements < pixels * pixels
    assert anchor.grad.abs().max() > 0
