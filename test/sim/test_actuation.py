"""What arms make of commanded actions: speed, its limit, lag, limited force, and where fingers start."""

from __future__ import annotations

import numpy as np
import pytest

from reskill_core.errors import SimulationError
from reskill_sim import families
from reskill_sim.engine.actuation import Actuation
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import Variation
from reskill_sim.fetch.constants import FINGER_JOINTS, TABLE_TOP_M
from reskill_sim.fetch.demonstrators import make_demonstrator
from reskill_sim.fetch.model import LOADS
from reskill_sim.fetch.tasks import get_task
from reskill_sim.fetch.tasks.block import HALF_SIZE_M


def column(name: str) -> slice:
    return get_task("block").spec.obs.slice(name)


def test_a_slow_arm_moves_by_a_share_of_what_is_commanded_and_its_fingers_as_fast_as_ever() -> None:
    """Every episode has its own speed, which actions at full speed show; half the action is half the speed."""
    varied = get_task("block", Variation(speed=(0.4, 0.9)))
    slow, nominal = Simulator(varied, 16, "fast"), Simulator(get_task("block"), 16, "fast")
    moved = {}
    for name, simulator in (("slow", slow), ("nominal", nominal)):
        simulator.reset(range(16))
        before = simulator.observation()
        for _ in range(4):
            after = simulator.step(np.tile([0.5, -0.5, 0.2, -0.5], (16, 1))).observation
        moved[name] = (after - before)[:, column("gripper_position")], after[:, column("finger_position")]
    speeds = slow.state()[:, slow.layout.speed][:, 0]
    assert 0.4 <= speeds.min() < 0.5
    assert 0.8 < speeds.max() <= 0.9
    share = moved["slow"][0] / moved["nominal"][0]
    np.testing.assert_allclose(share, np.tile(speeds[:, None], 3), atol=0.08)
    np.testing.assert_allclose(moved["slow"][1], moved["nominal"][1], atol=2e-3)
    assert nominal.layout.speed.start == nominal.layout.speed.stop, "states of other worlds are as long as before"


def test_actions_between_two_steps_take_effect_in_both() -> None:
    """By hand: a quarter of a step late, and one and a quarter; the other share is that of the action before."""
    varied = get_task("block", Variation(lateness=(0.0, 0.9), action_delay=(0, 1)))
    simulator = Simulator(varied, 3, "fast")
    rows, layout = simulator.state(), simulator.layout
    rows[:, layout.lateness], rows[:, layout.delays] = [[0.0], [0.25], [0.25]], [[0, 0], [0, 0], [0, 1]]
    simulator.set_state(rows)
    assert simulator.action_delays().tolist() == [0.0, 0.25, 1.25]
    actuation, action, executed = Actuation(varied, simulator.mechanism, layout), np.array([0.8, -0.4, 0.2, -0.5]), []
    for share in (1.0, 0.5, 0.0):
        after = rows.copy()
        executed.append(actuation.apply(np.tile(share * action, (3, 1)), rows, after))
        rows = after
    expected = [[1.0, 0.75, 0.0], [0.5, 0.625, 0.75], [0.0, 0.125, 0.625]]
    np.testing.assert_allclose(executed, np.array(expected)[..., None] * action, atol=1e-12)


def test_an_arm_with_a_limit_keeps_the_direction_of_what_is_commanded_and_slow_motions_as_they_are() -> None:
    """By hand: the limit is one of speed, so it is applied to what is left of an action at a share of the speed."""
    varied = get_task("block", Variation(speed=(0.5, 1.0), speed_limit=(0.1, 1.0)))
    simulator = Simulator(varied, 4, "fast")
    simulator.reset(range(4))
    rows, layout = simulator.state(), simulator.layout
    rows[:, layout.speed] = [[1.0], [1.0], [0.5], [1.0]]
    rows[:, layout.speed_limit] = [[0.2], [0.2], [0.2], [1.0]]
    wanted = np.array([[0.8, -0.4, 0.2, -0.9], [0.1, -0.2, 0.05, 0.9], [0.8, -0.4, 0.0, 0.9], [1.0, -1.0, 0.3, -0.9]])
    executed = Actuation(varied, simulator.mechanism, layout).apply(wanted, rows, rows.copy())
    expected = np.array(
        [[0.2, -0.1, 0.05, -0.9], [0.1, -0.2, 0.05, 0.9], [0.2, -0.1, 0.0, 0.9], [1.0, -1.0, 0.3, -0.9]]
    )
    np.testing.assert_allclose(executed, expected, atol=1e-12)
    assert np.array_equal(executed[1], wanted[1]), "a slow motion is nominal to the bit"


def test_limits_of_speed_are_drawn_per_episode() -> None:
    """A limit holds a fast hand back in the physics; where none varies, states are as long as before."""
    varied = Simulator(get_task("block", Variation(speed_limit=(0.1, 0.9))), 64, "fast")
    varied.reset(range(64))
    before = varied.observation()
    for _ in range(4):
        after = varied.step(np.tile([1.0, 0.0, 0.0, 0.0], (64, 1))).observation
    limits = varied.state()[:, varied.layout.speed_limit][:, 0]
    assert 0.1 <= limits.min() < 0.15
    assert 0.85 < limits.max() <= 0.9
    moved = (after - before)[:, column("gripper_position").start]
    assert np.corrcoef(moved, limits)[0, 1] > 0.99
    nominal = Simulator(get_task("block"), 1).layout
    assert nominal.speed_limit.start == nominal.speed_limit.stop


def test_an_arm_of_limited_force_yields_to_its_load() -> None:
    """By hand: half of the velocity against a load of 3/4 of the limit is left, nothing beyond it; the rest is free."""
    varied = get_task("block", Variation(force_limit=(20.0, 100.0)))
    simulator = Simulator(varied, 5, "fast")
    rows, layout = simulator.state(), simulator.layout
    rows[:, layout.force_limit] = [[40.0], [40.0], [40.0], [40.0], [200.0]]
    sensors = rows[:, layout.sensors]
    sensors[:, simulator.mechanism.sensors[LOADS[0]]] = [[0, 0, 30], [0, 0, 30], [0, 0, 60], [0, 0, 20], [0, 0, 60]]
    rows[:, layout.sensors] = sensors
    wanted = np.tile([0.5, 0.1, -0.8, 0.9], (5, 1))
    wanted[1, 2] = 0.8
    executed = Actuation(varied, simulator.mechanism, layout).apply(wanted, rows, rows.copy())
    expected = wanted.copy()
    expected[[0, 2], 2] = [-0.4, 0.0]
    np.testing.assert_allclose(executed, expected, atol=1e-12)
    assert np.array_equal(executed[4], wanted[4]), "without limit nominal to the bit"


def test_the_load_of_an_arm_is_the_weight_that_it_lifts() -> None:
    """Of a block of 2 kg, downwards; where nothing limits the force, states are as long as before."""
    simulator = Simulator(get_task("block", Variation(force_limit=(100.0, 200.0))), 8, "fast")
    script = make_demonstrator("block", "pick_and_place", (0.0, 0.0), 8)
    observation, loads = simulator.reset(range(8)), []
    script.reset(range(8))
    for _ in range(50):
        observation = simulator.step(script.act(observation).action).observation
        lifted = observation[:, column("block_position")][:, 2] > TABLE_TOP_M + HALF_SIZE_M + 0.03
        loads += simulator.mechanism.load(simulator.state()[lifted][:, simulator.layout.sensors]).tolist()
    assert len(loads) > 50
    np.testing.assert_allclose(np.median(loads, axis=0), [0.0, 0.0, -2.0 * 9.81, 0.0], atol=1.0)
    limits = simulator.state()[:, simulator.layout.force_limit]
    assert 100.0 <= limits.min() < 120.0
    assert 180.0 < limits.max() <= 200.0
    nominal = Simulator(get_task("block"), 1).layout
    assert nominal.force_limit.start == nominal.force_limit.stop


def test_an_arm_of_limited_force_presses_less() -> None:
    """Closed fingers, driven down onto the table: the weaker arm stands, the other presses on."""
    simulator = Simulator(get_task("block", Variation(force_limit=(50.0, 200.0))), 2, "fast")
    simulator.reset([0, 0])
    rows = simulator.state()
    rows[:, simulator.layout.force_limit] = [[50.0], [200.0]]
    simulator.set_state(rows)
    for _ in range(30):
        simulator.step(np.tile([0.0, 0.0, -0.5, -1.0], (2, 1)))
    weak, strong = simulator.mechanism.load(simulator.state()[:, simulator.layout.sensors])[:, 2]
    assert 0.0 < weak < 0.5 * strong


def test_a_limit_of_force_needs_a_mechanism_that_measures_loads() -> None:
    with pytest.raises(SimulationError, match="does not support the variation of force_limit"):
        families.family_of("kitchen").make_env(families.get_task("kitchen", Variation(force_limit=(50.0, 50.0))), 1)


def test_a_lagging_arm_follows_exponentially_and_its_fingers_at_once() -> None:
    """By hand: with τ = T / ln 2, half of the way is left after each control period, and nothing of the past else."""
    period_s = get_task("block").spec.control_period_s
    lag_s = period_s / np.log(2.0)
    varied = get_task("block", Variation(lag=(0.0, lag_s), action_delay=(0, 1)))
    simulator = Simulator(varied, 3, "fast")
    simulator.strength[0] = 0.0
    simulator.reset(range(3))
    rows, layout = simulator.state(), simulator.layout
    rows[:, layout.lag] = [[0.0], [lag_s], [lag_s]]
    rows[:, layout.delays] = [[0, 0], [0, 0], [0, 1]]
    wanted = np.tile([0.8, -0.4, 0.2, -0.5], (3, 1))
    actuation = Actuation(varied, simulator.mechanism, layout)
    executed = []
    for action in (wanted, wanted, np.zeros_like(wanted)):
        after = rows.copy()
        executed.append(actuation.apply(action, rows, after))
        rows = after
    share = np.array([[1.0, 1.0, 0.0], [0.5, 0.75, 0.375], [0.0, 0.5, 0.75]]).T
    finger = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]).T
    for step in range(3):
        np.testing.assert_allclose(executed[step][:, :3], share[step][:, None] * wanted[:, :3], atol=1e-12)
        np.testing.assert_allclose(executed[step][:, 3], finger[step] * wanted[:, 3], atol=1e-12)
    assert np.array_equal(executed[0][0], wanted[0]), "an arm that does not lag is nominal to the bit"


def test_an_arm_overshoots_by_its_share_and_is_as_late_as_its_lag() -> None:
    """Of a command that changes once: the peak is 1 + o, and what is lost in the end is the command times the lag."""
    varied = get_task("block", Variation(lag=(0.0, 0.4), overshoot=(0.0, 0.4)))
    simulator = Simulator(varied, 4, "fast")
    rows, layout, period_s = simulator.state(), simulator.layout, varied.spec.control_period_s
    # Slow oscillations, so that the peak is seen.
    lags, overshoots = np.array([[0.3], [0.3], [0.0], [0.1]]), np.array([[0.1], [0.4], [0.4], [0.0]])
    rows[:, layout.lag], rows[:, layout.overshoot] = lags, overshoots
    actuation, wanted, velocities, executed = (
        Actuation(varied, simulator.mechanism, layout),
        np.full((4, 4), 0.5),
        [],
        [],
    )
    for _ in range(400):
        after = rows.copy()
        executed.append(actuation.apply(wanted, rows, after))
        velocities.append(after[:, layout.followed])
        rows = after
    np.testing.assert_allclose(
        np.max(velocities, axis=0)[:, 0], 0.5 * (1.0 + np.array([0.1, 0.4, 0.0, 0.0])), atol=2e-3
    )
    lost_s = np.sum(wanted - executed, axis=0)[:, 0] * period_s / 0.5
    np.testing.assert_allclose(lost_s[:3], lags[:3, 0], atol=1e-4)
    assert np.array_equal(np.array(executed)[:, :, 3], np.full((400, 4), 0.5)), "fingers follow at once"
    # Without overshoot as without that variation.
    kept = np.exp(-period_s / 0.1)
    np.testing.assert_allclose(np.array(executed)[:2, 3, 0], [0.5 * (1 - kept), 0.5 * (1 - kept**2)], atol=1e-12)


def test_an_unsteady_arm_makes_up_for_what_it_loses() -> None:
    """Motion varies from step to step and axis to axis; the way varies as little after many steps as after one."""
    varied = get_task("block", Variation(unsteadiness=(0.0, 0.3)))
    simulator = Simulator(varied, 300, "fast")
    simulator.reset(range(300))
    rows, layout = simulator.state(), simulator.layout
    rows[:, layout.unsteadiness] = 0.2
    rows[0, layout.unsteadiness] = 0.0
    actuation, executed = Actuation(varied, simulator.mechanism, layout), []
    for step in range(20):
        rows[:, layout.step] = step
        executed.append(actuation.apply(np.full((300, 4), 0.5), rows, rows.copy()))
    shares = np.array(executed) / 0.5
    assert np.array_equal(shares[:, 0], np.ones((20, 4))), "a steady arm is nominal to the bit"
    assert np.array_equal(shares[:, :, 3], np.ones((20, 300))), "fingers are steady"
    ahead = (np.cumsum(shares, axis=0) - np.arange(1, 21)[:, None, None])[:, 1:, :3]
    np.testing.assert_allclose(ahead.std(axis=(1, 2)), 0.2, rtol=0.08)
    assert abs(np.corrcoef(ahead[0, :, 0], ahead[0, :, 1])[0, 1]) < 0.2
    assert abs(np.corrcoef(ahead[4, :, 0], ahead[5, :, 0])[0, 1]) < 0.2


def test_the_gripper_may_be_open_at_the_start() -> None:
    """Both fingers, in the first observation and in the physics: commanded to stay, they stay."""
    simulator = Simulator(get_task("block", Variation(finger_start=(0.01, 0.05))), 16)
    start = simulator.reset(range(16))[:, column("finger_position")]
    np.testing.assert_array_equal(start, simulator.state()[:, simulator.layout.finger_start].repeat(2, axis=1))
    assert 0.01 <= start.min() < 0.02
    assert 0.04 < start.max() <= 0.05
    after = simulator.step(np.zeros((16, 4))).observation[:, column("finger_position")]
    np.testing.assert_allclose(after, start, atol=2e-3)
    shut = Simulator(get_task("slippery_push", Variation(finger_start=(0.05, 0.05))))
    assert np.abs(shut.state()[0, shut.mechanism.joint_columns(FINGER_JOINTS)]).max() < 1e-3


def test_lags_are_drawn_per_episode_and_slow_the_start_of_a_motion() -> None:
    """The hand of an arm that lags more is behind, in the physics and not only in the numbers above."""
    simulator = Simulator(get_task("block", Variation(lag=(0.0, 0.2))), 16, "fast")
    simulator.reset(range(16))
    before = simulator.observation()
    for _ in range(4):
        after = simulator.step(np.tile([0.5, 0.0, 0.0, 0.0], (16, 1))).observation
    moved = (after - before)[:, column("gripper_position")][:, 0]
    lags = simulator.state()[:, simulator.layout.lag][:, 0]
    assert lags.min() < 0.05 < 0.15 < lags.max() <= 0.2
    assert np.corrcoef(lags, moved)[0, 1] < -0.9
