"""Intervals against published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.errors import ReskillError
from reskill_core.intervals import mean, rate


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
    assert estimate.high - 2.0 == pytest.approx(1.96 / np.sqrt(3), abs=1e-4)
    assert mean([4.0]).low == 4.0


def test_nothing_gives_no_estimate() -> None:
    for estimate in (rate, mean):
        with pytest.raises(ReskillError, match="at least one"):
            estimate([])
