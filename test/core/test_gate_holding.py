"""The gate by hand: silence, e-stop, clock jumps and lost drivers hold it, and holding too long disarms it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gated_robot import QUIET, Robot, executed

from reskill_core.gate import GateError, GateState


def test_f1_silence_holds_once_and_resumes_after_fresh_commands() -> None:
    """After the time-out one safe command and HOLDING; motion resumes only after N fresh commands."""
    robot = Robot(replace(QUIET, resume_after=3))
    assert [robot.offer(0.2, 0, 0, 0).reason for _ in range(3)] == ["warming_up", "warming_up", ""]
    assert robot.state() is GateState.ACTIVE
    assert not robot.watch(0.11)
    assert robot.watch(0.02)
    assert robot.state() is GateState.HOLDING
    assert robot.gate.interrupted
    assert not robot.watch(1.0), "the safe command is sent once"
    assert [robot.offer(0.2, 0, 0, 0).reason for _ in range(3)] == ["warming_up", "warming_up", ""]
    assert not robot.gate.interrupted


def test_fresh_commands_that_are_far_apart_do_not_add_up() -> None:
    robot = Robot(replace(QUIET, resume_after=2))
    for _ in range(3):
        assert robot.offer(0.2, 0, 0, 0, after_s=1.0).reason == "warming_up"
        robot.watch(0.5)
    assert robot.state() is GateState.HOLDING


def test_a_repeated_stamp_does_not_add_up_either() -> None:
    robot = Robot(replace(QUIET, resume_after=2))
    assert robot.offer(0.2, 0, 0, 0).reason == "warming_up"
    assert robot.offer(0.2, 0, 0, 0, age_s=0.01, after_s=0.01).reason == "warming_up"
    assert robot.state() is GateState.HOLDING


def test_silence_is_noticed_though_the_ros_clock_stands_still() -> None:
    """A paused simulator stops the ROS clock; the steady clock still tells that nothing comes."""
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    stamp_ns = round(robot.time_s * 1e9)
    assert robot.gate.watch(robot.time_s + 0.13, stamp_ns)


def test_old_stamps_are_noticed_though_messages_keep_coming() -> None:
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    for _ in range(4):
        decision = robot.offer(0.2, 0, 0, 0, age_s=0.2)
        assert decision.reason == "stale"
    assert robot.watch(0.0)


def test_f37_estop_is_latched_until_an_explicit_reset() -> None:
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    assert robot.gate.estop(True, robot.time_s)
    assert robot.state() is GateState.ESTOPPED
    assert robot.offer(0.2, 0, 0, 0).reason == "estopped"
    with pytest.raises(GateError, match="still pressed"):
        robot.gate.reset()
    assert not robot.gate.estop(False, robot.time_s)
    assert robot.state() is GateState.ESTOPPED, "letting go of the button is no reset"
    robot.gate.disarm()
    assert robot.state() is GateState.ESTOPPED
    robot.gate.reset()
    assert robot.state() is GateState.DISARMED


def test_f37_a_silent_estop_source_is_a_stop_where_one_is_required() -> None:
    robot = Robot(replace(QUIET, estop_timeout_s=0.5), armed=False)
    with pytest.raises(GateError, match="silent"):
        robot.gate.arm(robot.time_s)
    robot.gate.estop(False, robot.time_s)
    robot.gate.arm(robot.time_s)
    robot.offer(0.2, 0, 0, 0)
    robot.gate.estop(False, robot.time_s)
    assert robot.watch(0.6)
    assert robot.state() is GateState.ESTOPPED


def test_f11_a_clock_jump_holds_and_starts_over() -> None:
    robot = Robot()
    robot.offer(0.2, 0, 0, 0)
    assert robot.gate.forget()
    assert robot.state() is GateState.HOLDING
    robot.time_s -= 50.0
    assert executed(robot.offer(0.25, 0, 0, 0)) == [0.25, 0, 0, 0], "earlier stamps are no longer reordered"


ROBOT = replace(QUIET, resume_after=2, disarm_after_s=3.0, max_step=(0.25,))


def test_f38_without_a_driver_nothing_passes_and_motion_starts_anew_when_there_is_one() -> None:
    """Held at once with one safe command, commands into the void do not count, and then from standstill."""
    robot = Robot(ROBOT)
    for _ in range(4):
        robot.offer(1.0, 0, 0, 0)
    assert robot.state() is GateState.ACTIVE
    assert robot.gate.observe_driver("/command/twist")
    assert robot.state() is GateState.HOLDING
    assert robot.gate.interrupted
    assert robot.gate.explanation == "no driver listens on /command/twist"
    assert not robot.gate.observe_driver("/command/twist"), "the safe command is sent once"
    assert [robot.offer(1.0, 0, 0, 0).reason for _ in range(5)] == ["no_driver"] * 5
    robot.gate.observe_driver("")
    assert robot.offer(1.0, 0, 0, 0).reason == "warming_up"
    assert executed(robot.offer(1.0, 0, 0, 0)) == [0.25, 0, 0, 0]
    assert robot.gate.counters["driver_losses"] == 1
    assert not robot.gate.interrupted


def test_f38_a_driver_in_the_place_of_another_is_warmed_up_for_too() -> None:
    robot = Robot(ROBOT)
    for _ in range(4):
        robot.offer(1.0, 0, 0, 0)
    assert robot.gate.observe_driver("", returned=True)
    assert robot.gate.explanation == "the driver was started again"
    assert robot.offer(1.0, 0, 0, 0).reason == "warming_up"
    assert not robot.gate.observe_driver("", returned=True)
    assert robot.offer(1.0, 0, 0, 0).reason == "warming_up", "what came before it returned does not count"
    assert executed(robot.offer(1.0, 0, 0, 0)) == [0.25, 0, 0, 0]


def test_f38_nothing_passes_until_it_is_known_who_has_come() -> None:
    """It may be a recorder, for which nothing has to stop, or the driver again, for which motion starts anew."""
    robot = Robot(ROBOT)
    for _ in range(4):
        robot.offer(1.0, 0, 0, 0)
    assert not robot.gate.observe_driver("", unknown=True)
    assert robot.offer(1.0, 0, 0, 0).reason == "driver_unknown"
    robot.gate.observe_driver("")
    assert executed(robot.offer(1.0, 0, 0, 0)) == [1.0, 0, 0, 0]


def test_f38_holding_too_long_disarms() -> None:
    """Without a safe command: the robot rests already, and a driver that came back was asked for nothing."""
    robot = Robot(ROBOT)
    for _ in range(4):
        robot.offer(1.0, 0, 0, 0)
    robot.gate.observe_driver("/command/twist")
    assert not any(robot.watch(0.5) for _ in range(7))
    assert robot.state() is GateState.HOLDING
    assert not robot.watch(0.1)
    assert robot.state() is GateState.DISARMED
    assert robot.gate.interrupted
    assert robot.gate.explanation == "held for 3 s (no driver listens on /command/twist); arm again to go on"
    robot.gate.observe_driver("")
    assert [robot.offer(1.0, 0, 0, 0).reason for _ in range(3)] == ["disarmed"] * 3
    robot.gate.arm(robot.time_s)
    assert not robot.gate.interrupted
    assert robot.offer(1.0, 0, 0, 0).reason == "warming_up"
    assert executed(robot.offer(1.0, 0, 0, 0)) == [0.25, 0, 0, 0]


@pytest.mark.parametrize("cause", ["armed", "silence", "clock", "refused"])
def test_whatever_it_holds_for_holding_too_long_disarms(cause: str) -> None:
    robot = Robot(replace(ROBOT, resume_after=1))
    if cause != "armed":
        robot.offer(0.2, 0, 0, 0)
    if cause == "clock":
        robot.gate.forget()
    for _ in range(40):
        robot.watch(0.1)
        if cause == "refused":
            robot.offer(0.2, 0, 0, 0, age_s=1.0, after_s=0.0)
    assert robot.state() is GateState.DISARMED
    assert robot.gate.counters["disarmed_after_holding"] == 1


def test_holding_counts_from_its_last_start_and_not_while_commands_pass() -> None:
    robot = Robot(replace(ROBOT, resume_after=1))
    for _ in range(5):
        for _ in range(2):
            robot.watch(1.0)
        assert robot.state() is GateState.HOLDING
        robot.offer(0.2, 0, 0, 0)
        assert robot.state() is GateState.ACTIVE
        robot.watch(1.0)


def test_a_simulator_may_hold_for_ever() -> None:
    robot = Robot(replace(ROBOT, disarm_after_s=0.0))
    for _ in range(5):
        robot.watch(1000.0)
    assert robot.state() is GateState.HOLDING


def test_a_timed_run_ends_in_rest_and_can_be_armed_again() -> None:
    """Counted from arming, not from the first command; a hold in between does not prolong it."""
    robot = Robot(replace(QUIET, max_duration_s=1.0))
    for _ in range(20):
        assert robot.offer(0.5, 0.0, 0.0, 0.0).action is not None
        assert not robot.watch(0.0)
    assert robot.watch(0.15), "a hold after 0.8 s, for want of commands"
    assert not robot.watch(0.04)
    assert robot.state() is GateState.HOLDING
    assert not robot.watch(0.02), "it stands still already"
    assert robot.state() is GateState.DISARMED
    assert "1 s are over" in robot.gate.explanation
    robot.gate.arm(robot.time_s)
    robot.offer(0.5, 0.0, 0.0, 0.0)
    for _ in range(23):
        robot.offer(0.5, 0.0, 0.0, 0.0)
        assert not robot.watch(0.0)
    assert robot.watch(0.05), "from motion, with the safe command"
    assert robot.state() is GateState.DISARMED
    assert robot.offer(0.5, 0.0, 0.0, 0.0).reason == "disarmed"
