"""Intervals against published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.errors import ReskillError
from reskill_core.intervals import Estimate, mean, mean_over_seeds, rate, rate_over_seeds


def test_wilson_interval_by_hand() -> None:
    # 8 of 10: (0.8 + z²/20 ± z √(0.016 + z²/400)) / (1 + z²/10) with z = 1.96.
    estimate = rate([True] * 8 + [False] * 2)
    assert estimate.mean == pytest.approx(0.8)
    assert (estimate.low, estimate.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_wilson_interval_says_something_at_the_ends() -> None:
    assert rate([True] * 20).low == pytest.approx(0.8389, abs=1e-4)
    assert rate([True] * 20).high == 1.0
    assert rate([False] * 20).low == 0.0


def test_mean_interval_by_hand() -> None:
    estimate = mean([1.0, 2.0, 3.0])
    assert estimate.mean == 2.0
    assert estimate.high == pytest.approx(2.0 + 1.96 / np.sqrt(3), abs=1e-4)


def test_one_value_claims_no_width() -> None:
    assert mean([4.0]) == Estimate(4.0, None, None, 1)
    assert str(mean([4.0])) == "4.000 (n = 1)"
    assert mean_over_seeds([[1.0, 3.0]]) == Estimate(2.0, None, None, 1)
    assert rate_over_seeds([[True] * 50]) == Estimate(1.0, None, None, 1)
    # One outcome says a little of others.
    assert (rate([True]).low, rate([True]).high) == pytest.approx((0.2065, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("means", "low", "high"),
    [
        # Two seeds drawn anew are both the first in one case of four, and both the second in another.
        ((0.0, 1.0), 0.0, 1.0),
        # Three: all three the last one in one of 27, more than 2.5 %.
        ((0.0, 0.0, 1.0), 0.0, 1.0),
        # Four: all four the last one in one of 256, three of them in 12 of 256.
        ((0.0, 0.0, 0.0, 1.0), 0.0, 0.75),
    ],
)
def test_seeds_that_differ_in_all_their_episodes_by_hand(means: tuple[float, ...], low: float, high: float) -> None:
    runs = [[value] * 200 for value in means]
    estimate = mean_over_seeds(runs)
    assert estimate.mean == pytest.approx(np.mean(means))
    assert (estimate.low, estimate.high, estimate.count) == (low, high, len(means))
    assert rate_over_seeds([[value > 0.5 for value in run] for run in runs]) == estimate
    # Episodes of three seeds are no 600 ways to train.
    pooled = rate(np.concatenate(runs) > 0.5)
    assert pooled.high - pooled.low < 0.2 * (estimate.high - estimate.low)  # type: ignore[operator]


def test_seeds_that_do_not_differ_are_worth_the_episodes_of_one() -> None:
    # From the same starts, other seeds that end alike tell nothing more of other starts.
    run = np.random.default_rng(0).normal(5.0, 2.0, 200)
    one, several = mean(run), mean_over_seeds([run] * 3)
    assert several.mean == pytest.approx(one.mean)
    assert (several.low, several.high) == pytest.approx((one.low, one.high), abs=0.1 * (one.high - one.low))  # type: ignore[operator]


def test_nothing_but_successes_of_all_seeds_is_not_certain() -> None:
    estimate = rate_over_seeds([[True] * 200] * 3)
    assert (estimate.low, estimate.high) == pytest.approx((rate([True] * 600).low, 1.0))


def test_intervals_over_seeds_are_the_same_every_time_and_take_runs_of_any_length() -> None:
    rng = np.random.default_rng(1)
    runs = [rng.normal(size=size) for size in (200, 199, 50)]
    assert mean_over_seeds(runs) == mean_over_seeds([run.copy() for run in runs])


def test_intervals_over_seeds_hold_the_truth_where_those_over_episodes_do_not() -> None:
    """Seeds differ by a standard deviation of 1, starts and what else happens by as much; the truth is 0."""
    rng = np.random.default_rng(2)
    over_seeds: list[bool] = []
    over_episodes: list[bool] = []
    for _ in range(100):
        shared = rng.normal(size=50)
        runs = [rng.normal() + shared + rng.normal(size=50) for _ in range(10)]
        for estimate, held in ((mean_over_seeds(runs), over_seeds), (mean(np.concatenate(runs)), over_episodes)):
            assert estimate.low is not None
            assert estimate.high is not None
            held.append(estimate.low <= 0.0 <= estimate.high)
    assert np.mean(over_seeds) >= 0.85
    assert np.mean(over_episodes) < 0.5


def test_nothing_gives_no_estimate() -> None:
    for estimate in (rate, mean, rate_over_seeds, mean_over_seeds):
        with pytest.raises(ReskillError, match="at least one"):
            estimate([])
    with pytest.raises(ReskillError, match="episodes of each"):
        mean_over_seeds([[1.0], []])
