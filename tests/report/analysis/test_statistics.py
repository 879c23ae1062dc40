"""Bootstrap and permutation against scipy, and against what can be worked out by hand."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from adnet.report.analysis.statistics import Interval, bootstrap_interval, holm, paired_difference, sign_flip_test

# Region similarity as it is: most sequences do well, a few fail.
SKEWED = np.random.default_rng(3).beta(6, 2, 20)

samples = arrays(np.float64, st.integers(2, 12), elements=st.floats(-1, 1, width=32))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_agrees_with_scipy_bca(confidence: float) -> None:
    ours = bootstrap_interval(SKEWED, confidence=confidence, resamples=50_000)
    theirs = stats.bootstrap(
        (SKEWED,), np.mean, confidence_level=confidence, n_resamples=50_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    # Two Monte Carlo runs: the quantiles of 50,000 means differ by a few thousandths of the interval.
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.02 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.02 * width)


def test_interval_of_many_values_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 500)
    half = NormalDist().inv_cdf(0.975) * values.std() / np.sqrt(len(values))
    interval = bootstrap_interval(values, resamples=30_000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_interval_leans_towards_the_long_tail() -> None:
    interval = bootstrap_interval(SKEWED)
    plain = np.quantile(SKEWED[np.random.default_rng(0).integers(0, 20, (10_000, 20))].mean(axis=1), [0.025, 0.975])
    assert stats.skew(SKEWED) < 0
    assert interval.low < plain[0]
    assert interval.high < plain[1]


@given(samples)
@settings(max_examples=50, deadline=None)
def test_interval_holds_the_mean_and_stays_among_the_values(values: np.ndarray) -> None:
    interval = bootstrap_interval(values, resamples=200)
    slack = 1e-9
    assert interval.estimate == pytest.approx(values.mean(), abs=1e-12)
    assert values.min() - slack <= interval.low <= interval.high <= values.max() + slack


@given(samples, st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_interval_moves_with_its_values(values: np.ndarray, shift: float) -> None:
    values = values.round(6)  # two that differ by less could be the same number once they are shifted
    if np.ptp(values) < 1e-3:
        values = values + np.arange(len(values))
    still, moved = bootstrap_interval(values, resamples=200), bootstrap_interval(values + shift, resamples=200)
    assert moved.low - shift == pytest.approx(still.low, abs=1e-6 + 0.02 * np.ptp(values))
    assert moved.high - shift == pytest.approx(still.high, abs=1e-6 + 0.02 * np.ptp(values))


def test_interval_depends_on_nothing_but_values_and_seed() -> None:
    assert bootstrap_interval(SKEWED, seed=7) == bootstrap_interval(SKEWED, seed=7)
    assert bootstrap_interval(SKEWED, seed=7) != bootstrap_interval(SKEWED, seed=8)


def test_equal_values_leave_no_doubt_and_one_value_tells_nothing() -> None:
    assert bootstrap_interval([0.3, 0.3, 0.3]) == Interval(pytest.approx(0.3), pytest.approx(0.3), pytest.approx(0.3))
    single = bootstrap_interval([0.3])
    assert single.estimate == 0.3
    assert np.isnan([single.low, single.high]).all()


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]], [0.1, float("nan")], 0.5])
def test_values_that_are_no_sample_are_refused(values: object) -> None:
    with pytest.raises(ValueError, match="finite values of shape"):
        bootstrap_interval(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [4, 9, 13])
def test_exact_p_value_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.random(n) + 0.1, rng.random(n)
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10**4,
    )
    assert paired_difference(a, b).p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def test_exact_p_value_of_twenty_sequences() -> None:
    """All twenty improve: only the observed pattern and its mirror are as extreme."""
    assert sign_flip_test(np.linspace(0.01, 0.2, 20)) == 2 / 2**20


def test_sampled_p_value_agrees_with_scipy_beyond_twenty_sequences() -> None:
    rng = np.random.default_rng(5)
    a = rng.random(30)
    b = a - 0.05 + rng.normal(0, 0.15, 30)
    theirs = stats.permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=50_000,
        rng=np.random.default_rng(2),
    )
    assert paired_difference(a, b, resamples=50_000).p_value == pytest.approx(theirs.pvalue, abs=0.01)


def test_sampled_p_value_is_never_zero() -> None:
    assert sign_flip_test(np.ones(40), resamples=999) == pytest.approx(1 / 1000)


@given(samples)
@settings(max_examples=100, deadline=None)
def test_p_value_has_no_side(values: np.ndarray) -> None:
    p = sign_flip_test(values)
    assert 0 < p <= 1
    assert p == sign_flip_test(-values)


def test_no_difference_has_p_one() -> None:
    difference = paired_difference(SKEWED, SKEWED)
    assert difference.p_value == 1
    assert difference.interval == Interval(0.0, 0.0, 0.0)


def test_difference_is_first_minus_second() -> None:
    difference = paired_difference([0.5, 0.7, 0.6], [0.4, 0.5, 0.6])
    assert difference.interval.estimate == pytest.approx(0.1)


def test_other_sequences_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same sequences, got 2 and 3"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
