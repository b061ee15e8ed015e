"""What the simulator's benchmarks report, on small sizes; how fast it is, is not tested."""

from __future__ import annotations

import pytest

from reskill_sim.engine.stock_version import stock_fault
from reskill_sim.experiments.bench import measure_endurance, measure_stepping, measure_threads
from reskill_sim.fetch.fidelity import measure_fidelity
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.tasks import TASKS


def test_fidelity_finds_exact_equal_to_itself_and_others_near() -> None:
    rows = measure_fidelity(("block",), 16)
    assert [row["profile"] for row in rows] == 2 * ["exact", "exact, 1 mm off", "fast", "turbo"]
    for row in rows:
        if row["profile"] == "exact":
            # Recorded observations are rounded to float32.
            assert (row["gripper_mm"], row["object_mm"]) == pytest.approx((0.0, 0.0), abs=1e-3)
            assert row["gap_0.05"] == row["gap_0.2"] == 0.0
        elif row["profile"] in PROFILES:
            assert 0.1 < row["gripper_mm"] < 10.0
        else:
            assert 0.2 < row["object_mm"] < 20.0
        assert 0.0 <= row["success_0.2"] <= 1.0
        assert row["se_0.05"] >= 1 / 16
    lifted = {row["demonstrator"]: row["lifted"] for row in rows if row["profile"] == "exact"}
    assert lifted["pick_and_place"] > 0.9
    assert lifted["push"] < 0.2


def test_endurance_counts_what_was_run() -> None:
    rows = measure_endurance(len(TASKS.names) * 64 * 60, "turbo")
    assert [row["task"] for row in rows] == list(TASKS)
    for row in rows:
        assert row["steps"] == 64 * 60
        assert row["undetected"] == 0
        # Horizons are 50 and 100.
        assert row["episodes"] >= (64 if row["task"] in ("block", "clean_up", "pyramid_stack") else 0)


def test_rates_are_told_for_every_profile_and_size() -> None:
    rows = measure_stepping((1, 2), rounds=1)
    stock = [] if stock_fault() else [("stock env.step", 1)]
    ours = [(name, size) for name in PROFILES for size in (1, 2)]
    assert [(row["simulator"], row["envs"]) for row in rows] == [*stock, *ours]
    assert [row["ratio_to_stock"] for row in rows[: len(stock)]] == [pytest.approx(1.0)] * len(stock)
    assert all(row["steps_per_cpu_s"] > 0 for row in rows)
    assert [row["profile"] for row in measure_threads((4,), rounds=1)] == list(PROFILES)
