"""The gate by hand, with injected times and written-out numbers: which commands pass, cut to which limits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from gated_robot import PERIOD_S, QUIET, Robot, executed
from hypothesis import given
from hypothesis import strategies as st

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, SpecError
from reskill_core.gate import Decision, Gate, GateConfig, GateError, GateState
from reskill_core.spec import (
    END_EFFECTOR_VELOCITY,
    GRIPPER_VELOCITY,
    JOINT_POSITION,
    JOINT_VELOCITY,
    RAW,
    ActionComponent,
    ActionSpec,
)


def test_starts_disarmed_and_passes_nothing() -> None:
    robot = Robot(armed=False)
    assert robot.state() is GateState.DISARMED
    assert (robot.gate.last_refusal, robot.gate.interrupted, robot.gate.latched) == ("", False, False)
    assert robot.gate.explanation == "waiting to be armed"
    assert robot.gate.clamp_ratio == 0.0
    assert robot.offer(0.5, 0, 0, 0) == Decision(reason="disarmed")


def test_passes_what_is_within_the_limits_bit_for_bit() -> None:
    # 0.1 has no exact float32 form; the float32 nearest to it does.
    nearest = 0.10000000149011612
    assert executed(Robot().offer(nearest, -1.0, 1.0, 0.0)) == [nearest, -1.0, 1.0, 0.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_is_refused_whole_and_feeds_nothing(bad: float) -> None:
    """A command with one NaN moves nothing, and the watchdog runs on as if it had not come (F16)."""
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    for _ in range(3):
        assert robot.offer(0.2, bad, 0, 0) == Decision(reason="non_finite")
    assert robot.watch(0.02)
    assert robot.refused == {"non_finite": 3}


def test_bad_commands_in_a_row_abort_until_reset() -> None:
    robot = Robot(replace(QUIET, abort_after_bad=3, command_timeout_s=1.0))
    robot.offer(0.2, 0, 0, 0)
    assert not robot.offer(math.nan, 0, 0, 0).stop
    assert not robot.offer(0.2, 0, 0).stop, "the wrong number of components is bad, too"
    assert robot.offer(math.nan, 0, 0, 0).stop
    assert robot.state() is GateState.ABORTED
    assert robot.offer(0.2, 0, 0, 0).reason == "aborted"
    with pytest.raises(GateError, match="call reset first"):
        robot.gate.arm(robot.time_s)
    robot.gate.reset()
    robot.gate.arm(robot.time_s)
    assert executed(robot.offer(0.25, 0, 0, 0)) == [0.25, 0, 0, 0]


def test_good_commands_in_between_prevent_the_abort() -> None:
    robot = Robot(replace(QUIET, abort_after_bad=2))
    for _ in range(5):
        assert not robot.offer(math.nan, 0, 0, 0).stop
        robot.offer(0.2, 0, 0, 0)
    assert robot.state() is GateState.ACTIVE


def test_nothing_aborts_while_disarmed() -> None:
    robot = Robot(replace(QUIET, abort_after_bad=2), armed=False)
    for _ in range(5):
        assert not robot.offer(math.nan, 0, 0, 0).stop
    assert robot.state() is GateState.DISARMED


def test_f17_clamps_and_counts_and_aborts_if_it_persists() -> None:
    robot = Robot(replace(QUIET, abort_after_clamped=3))
    assert robot.state() is GateState.HOLDING
    assert executed(robot.offer(1.5, -7.0, 0.5, 1.0)) == [1.0, -1.0, 0.5, 1.0]
    assert robot.gate.clamp_ratio == 1.0
    robot.offer(0.5, 0, 0, 0)
    assert robot.gate.clamp_ratio == 0.5
    assert [robot.offer(1.5, 0, 0, 0).stop for _ in range(3)] == [False, False, True]
    assert robot.state() is GateState.ABORTED


def test_clamping_counts_from_the_first_command_on() -> None:
    robot = Robot(replace(QUIET, abort_after_clamped=2))
    assert [robot.offer(1.5, 0, 0, 0).stop for _ in range(2)] == [False, True]


def test_f18_limits_the_step_between_commands_from_standstill() -> None:
    robot = Robot(replace(QUIET, max_step=(0.25, 0.25, 0.25, 2.0)))
    assert executed(robot.offer(1.0, -1.0, 0.1015625, -1.0)) == [0.25, -0.25, 0.1015625, -1.0]
    assert executed(robot.offer(1.0, -0.375, 0.1015625, 1.0)) == [0.5, -0.375, 0.1015625, 1.0]
    assert robot.gate.counters["step_limited"] == 2
    assert robot.watch(1.0)
    assert executed(robot.offer(1.0, 0, 0, 0)) == [0.25, 0, 0, 0], "after a stop it starts from standstill again"


def test_one_step_limit_serves_all_components() -> None:
    assert executed(Robot(replace(QUIET, max_step=(0.5,))).offer(1, 1, 1, 1)) == [0.5] * 4


def test_speed_scale_slows_the_arm_but_not_the_gripper() -> None:
    assert executed(Robot(replace(QUIET, speed_scale=0.5)).offer(1.0, -0.5, 0.25, 1.0)) == [0.5, -0.25, 0.125, 1.0]


# The same four as ever, in another order and with names that say nothing, and a joint beside them.
RENAMED = ActionSpec(
    (
        ActionComponent("jaw", GRIPPER_VELOCITY, "m/s", 25.0),
        ActionComponent("up", END_EFFECTOR_VELOCITY[2], "m/s", 1.25),
        ActionComponent("ahead", END_EFFECTOR_VELOCITY[0], "m/s", 1.25),
        ActionComponent("torso", JOINT_VELOCITY, "m/s", 0.5),
        ActionComponent("left", END_EFFECTOR_VELOCITY[1], "m/s", 1.25),
    )
)


def test_limits_go_by_what_a_component_is_not_by_its_name_or_place() -> None:
    """Speed is scaled for all but the fingers, and the box holds x, y and z wherever they stand."""
    robot = Robot(replace(BOX, speed_scale=0.5), actions=RENAMED)
    robot.gate.observe_position((0.0, 1.0, 0.5, 0.3, -0.5), round((robot.time_s + PERIOD_S) * 1e9))
    assert executed(robot.offer(1.0, 1.0, 1.0, 1.0, -1.0)) == [1.0, 0.0, 0.5, 0.5, 0.0]


def test_a_step_limit_per_component_has_to_fit_them() -> None:
    """Four limits are no limits of five components: the ones left over would be the wrong ones."""
    limits = replace(QUIET, max_step=(0.5, 0.5, 0.5, 2.0))
    with pytest.raises(SpecError, match="max_step: has 4 values, but the actions are jaw, up, ahead, torso, left"):
        Gate(limits, RENAMED, PERIOD_S)
    robot = Robot(replace(QUIET, max_step=(2.0, 0.1, 0.2, 0.25, 0.5)), actions=RENAMED)
    assert executed(robot.offer(1, 1, 1, 1, 1)) == pytest.approx([1.0, 0.1, 0.2, 0.25, 0.5])
    with pytest.raises(SpecError, match="max_step"):
        robot.gate.configure(limits)


# Positions of two joints, of which one ends earlier, and a number that only the driver understands.
SETPOINTS = ActionSpec(
    (
        ActionComponent("elbow", JOINT_POSITION, "rad", 2.0),
        ActionComponent("lid", JOINT_POSITION, "rad", 1.0, low=-0.25, high=0.5),
        ActionComponent("gear", RAW, "1", 1.0),
    )
)


def at(config: GateConfig, *place: float) -> Robot:
    """A robot whose joints are measured at these places [rad], now and a control period later."""
    robot = Robot(config, actions=SETPOINTS)
    robot.gate.observe_position((*place, 0.0), round((robot.time_s + PERIOD_S) * 1e9))
    return robot


def test_positions_start_from_the_measured_ones_and_change_by_the_step() -> None:
    """The elbow stands at 1 rad, which is 0.5; at half speed each command moves the setpoint by half a step."""
    robot = at(replace(QUIET, max_step=(0.25,), speed_scale=0.5), 1.0, 0.25)
    assert executed(robot.offer(1.0, 0.25, 0.0)) == [0.625, 0.25, 0.0]
    assert executed(robot.offer(1.0, -0.25, 0.0)) == [0.75, 0.125, 0.0]
    assert robot.gate.counters["step_limited"] == 2
    robot.gate.configure(replace(robot.gate.config, speed_scale=0.0))
    assert executed(robot.offer(1.0, -0.25, 0.0)) == [0.75, 0.125, 0.0]


def test_setpoints_within_the_limits_pass_as_they_are_whatever_the_speed() -> None:
    assert executed(at(QUIET, -2.0, 0.0).offer(1.0, 0.5, -1.0)) == [1.0, 0.5, -1.0]
    slow = at(replace(QUIET, speed_scale=0.5), 1.0, 0.25)
    assert executed(slow.offer(0.625, 0.25, 1.0)) == [0.625, 0.25, 1.0]


def test_components_are_cut_to_their_own_limits() -> None:
    robot = at(QUIET, 0.0, 0.0)
    assert executed(robot.offer(-1.0, 0.75, 1.5)) == [-1.0, 0.5, 1.0]
    assert executed(robot.offer(-1.0, -0.5, 1.0)) == [-1.0, -0.25, 1.0]
    assert robot.gate.counters["clamped"] == 2


def test_raw_components_have_no_speed_and_no_step() -> None:
    robot = at(replace(QUIET, max_step=(0.25,), speed_scale=0.5), 0.0, 0.0)
    assert executed(robot.offer(0.0, 0.0, 1.0)) == [0.0, 0.0, 1.0]
    assert executed(robot.offer(0.0, 0.0, -1.0)) == [0.0, 0.0, -1.0]
    assert robot.gate.counters["step_limited"] == 0


def test_without_a_recent_measurement_no_position_is_commanded() -> None:
    robot = Robot(QUIET, actions=SETPOINTS)
    assert robot.gate.needs_position
    assert robot.offer(0.0, 0.0, 0.0).reason == "position_unknown"
    assert not Robot(QUIET, actions=RENAMED).gate.needs_position


BOX = replace(QUIET, workspace_low=(0.0, 0.0, 0.0), workspace_high=(1.0, 1.0, 1.0))


def boxed(*position: float) -> Robot:
    robot = Robot(BOX)
    robot.gate.observe_position(position, round((robot.time_s + PERIOD_S) * 1e9))
    return robot


def test_f19_stays_in_the_workspace() -> None:
    """Full speed is 0.05 m per period: 0.025 m from the wall half of it is left, at the wall none."""
    action = executed(boxed(0.975, 0.025, 1.0).offer(1.0, -1.0, 1.0, 0.0))
    assert action == pytest.approx([0.5, -0.5, 0.0, 0.0], abs=1e-6)


def test_f19_outside_the_workspace_only_the_way_back_is_open() -> None:
    robot = boxed(1.2, -0.1, 0.5)
    assert executed(robot.offer(0.5, 0.5, 0.5, 0.0)) == [0.0, 0.5, 0.5, 0.0]
    assert robot.gate.counters["workspace_limited"] == 1


def test_f19_without_a_recent_position_nothing_moves() -> None:
    robot = Robot(BOX)
    assert robot.offer(0.1, 0, 0, 0).reason == "position_unknown"
    robot.gate.observe_position((0.5, 0.5, 0.5), round((robot.time_s - 0.2) * 1e9))
    assert robot.offer(0.1, 0, 0, 0).reason == "position_unknown"
    assert robot.state() is GateState.HOLDING
    with pytest.raises(SpecError, match="x, y and z; the task's are joint_velocity"):
        Gate(BOX, ActionSpec((ActionComponent("shoulder", JOINT_VELOCITY, "rad/s", 1.0),)), PERIOD_S)


def test_f9_future_stamps_are_refused_and_extend_nothing() -> None:
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    for _ in range(3):
        assert robot.offer(0.2, 0, 0, 0, age_s=-0.2).reason == "future"
    assert robot.watch(0.02)
    assert robot.offer(0.2, 0, 0, 0, age_s=-0.05).reason == "", "a little ahead is how clocks are"


def test_f10_reordered_commands_are_dropped() -> None:
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    assert robot.offer(0.9, 0, 0, 0, age_s=0.05, after_s=0.01).reason == "reordered"
    assert robot.refused == {"reordered": 1}


def test_the_same_answer_again_is_executed_again_but_is_no_sign_of_life() -> None:
    robot = Robot()
    first = executed(robot.offer(0.25, 0, 0, 0))
    assert executed(robot.offer(0.75, 0, 0, 0, age_s=0.1, after_s=0.1)) == first
    assert robot.gate.counters["repeated"] == 1
    assert robot.watch(0.03)


def test_commands_that_start_from_the_measured_position_need_a_recent_one() -> None:
    robot = Robot(needs_position=True)
    assert robot.offer(0.1, 0, 0, 0).reason == "position_unknown"
    robot.gate.observe_position((0.5, 0.5, 0.5, 0.0), round(robot.time_s * 1e9))
    assert executed(robot.offer(0.125, 0, 0, 0)) == [0.125, 0, 0, 0]
    assert robot.offer(0.125, 0, 0, 0, after_s=0.2).reason == "position_unknown"


def test_limits_may_change_while_running() -> None:
    robot = Robot()
    robot.offer(0.0, 0, 0, 0)
    robot.gate.configure(replace(QUIET, speed_scale=0.5))
    assert executed(robot.offer(1.0, 0, 0, 0)) == [0.5, 0, 0, 0]


def test_a_config_names_all_its_faults() -> None:
    document = {
        **{"command_timeout_s": -1.0, "speed_scale": math.nan, "max_step": ()},
        **{"workspace_low": (0, 0, 1), "workspace_high": (1, 1, 0.5)},
    }
    with pytest.raises(ConfigError) as caught:
        config_from_dict(GateConfig, document)
    for name in document:
        assert name in str(caught.value)
    assert config_from_dict(GateConfig, {}) == GateConfig()


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.lists(st.lists(numbers, min_size=0, max_size=6), max_size=30))
def test_whatever_comes_only_finite_actions_within_the_limits_leave(commands: list[list[float]]) -> None:
    config = replace(BOX, max_step=(0.3,), abort_after_bad=5, abort_after_clamped=5, speed_scale=0.7)
    robot = Robot(config)
    place, last = [0.5, 0.5, 0.98], [0.0] * 4
    for command in commands:
        robot.gate.observe_position(place, round((robot.time_s + PERIOD_S) * 1e9))
        decision = robot.offer(*command)
        if decision.action is None:
            continue
        action = list(decision.action)
        assert all(math.isfinite(value) and abs(value) <= 1.0 for value in action)
        # The box is the harder limit: it may cut a movement short at once.
        assert all(abs(a) <= abs(b) + 0.3 + 1e-6 for a, b in zip(action, last, strict=True))
        place = [p + a * 1.25 * PERIOD_S for p, a in zip(place, action, strict=False)]
        assert all(-1e-6 <= p <= 1 + 1e-6 for p in place)
        last = action
