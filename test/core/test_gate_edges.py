"""The gate at the edges: limits exactly met, states and counters after every request, what is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from reskill_core.gate import Gate, GateConfig, GateError, GateState
from reskill_core.spec import ActionSpec

S = 10**9
# Times that have an exact form.
EXACT = GateConfig(
    command_timeout_s=0.125,
    future_tolerance_s=0.25,
    resume_after=1,
    abort_after_bad=3,
    abort_after_clamped=2,
    disarm_after_s=2.0,
    estop_timeout_s=0.0,
)
STILL = (0.0, 0.0, 0.0, 0.0)


def made(config: GateConfig = EXACT, armed: bool = True) -> Gate:
    gate = Gate(config, ActionSpec(), 0.04)
    if armed:
        gate.arm(10.0)
    return gate


def moving(config: GateConfig = EXACT) -> Gate:
    gate = made(config)
    assert gate.offer(STILL, 10 * S, 10.0, 10 * S).action is not None
    assert gate.state is GateState.ACTIVE
    return gate


@pytest.mark.parametrize(
    ("age_s", "reason"), [(0.125, ""), (0.126, "stale"), (-0.25, ""), (-0.26, "future"), (0.0, "")]
)
def test_stamps_may_be_as_old_and_as_new_as_allowed(age_s: float, reason: str) -> None:
    gate = made()
    decision = gate.offer(STILL, round((20 - age_s) * S), 20.0, 20 * S)
    assert decision.reason == reason == gate.last_refusal
    assert gate.counters[f"refused_{reason}"] == bool(reason)


def test_the_order_of_stamps_is_that_of_the_newest_one() -> None:
    gate = moving()
    assert gate.offer(STILL, 10 * S - 1, 10.0, 10 * S).reason == "reordered"
    assert gate.offer(STILL, 10 * S + 1, 10.0, 10 * S + 1).reason == ""


@pytest.mark.parametrize(("silence_s", "stops"), [(0.125, False), (0.126, True)])
def test_silence_is_measured_on_both_clocks(silence_s: float, stops: bool) -> None:
    later_ns = round((10 + silence_s) * S)
    for gate, steady_s, now_ns in ((moving(), 10 + silence_s, 10 * S), (moving(), 10.0, later_ns)):
        assert gate.watch(steady_s, now_ns) == stops
        assert gate.counters["timeouts"] == stops
        assert gate.state is (GateState.HOLDING if stops else GateState.ACTIVE)
        assert gate.interrupted == stops
        if stops:
            assert gate.explanation == "no fresh command for 0.125 s"


def test_fresh_commands_in_a_row_are_close_to_each_other() -> None:
    for silence_s, state in ((0.125, GateState.ACTIVE), (0.126, GateState.HOLDING)):
        gate = made(replace(EXACT, resume_after=2))
        assert gate.offer(STILL, 20 * S, 20.0, 20 * S).reason == "warming_up"
        assert not gate.watch(20 + silence_s, 20 * S)
        gate.offer(STILL, 20 * S + 1, 20.2, 20 * S + 1)
        assert gate.state is state


@pytest.mark.parametrize(("held_s", "state"), [(2.0, GateState.HOLDING), (2.01, GateState.DISARMED)])
def test_holding_lasts_as_long_as_it_may(held_s: float, state: GateState) -> None:
    gate = made()
    assert not gate.watch(30.0, 0)
    assert not gate.watch(30.0 + held_s, 0)
    assert gate.state is state
    assert gate.counters["disarmed_after_holding"] == (state is GateState.DISARMED)


def test_bad_commands_are_told_apart_and_counted() -> None:
    gate = moving()
    assert gate.offer((0.0,) * 3, 10 * S, 10.0, 10 * S).reason == "wrong_size"
    assert gate.offer((math.nan,) * 4, 10 * S, 10.0, 10 * S).reason == "non_finite"
    assert gate.last_refusal == "non_finite"
    assert gate.counters["aborts"] == 0
    aborted = gate.offer((0.0,) * 5, 10 * S, 10.0, 10 * S)
    assert (aborted.action, aborted.stop, aborted.reason) == (None, True, "aborted")
    assert gate.state is GateState.ABORTED
    assert gate.explanation == "3 bad commands in a row, the last one wrong_size"
    assert {name: gate.counters[name] for name in ("refused_wrong_size", "refused_non_finite", "aborts")} == {
        "refused_wrong_size": 2,
        "refused_non_finite": 1,
        "aborts": 1,
    }
    assert not gate.interrupted


def test_bad_commands_before_arming_do_not_count_afterwards() -> None:
    gate = made(armed=False)
    for _ in range(5):
        assert not gate.offer((math.nan,) * 4, 10 * S, 10.0, 10 * S).stop
    gate.arm(10.0)
    for _ in range(2):
        assert not gate.offer((math.nan,) * 4, 10 * S, 10.0, 10 * S).stop
    assert gate.offer((math.nan,) * 4, 10 * S, 10.0, 10 * S).stop


def test_clamping_is_counted_where_it_happens() -> None:
    gate = moving(replace(EXACT, max_step=(4.0,)))
    for number, (value, clamped) in enumerate(((1.0, 0), (1.5, 1), (-1.0, 1), (-1.5, 2), (0.5, 2)), start=1):
        decision = gate.offer((value, 0, 0, 0), 10 * S + number, 10.0, 10 * S + number)
        assert decision.action is not None
        assert decision.action[0] == max(-1.0, min(1.0, value))
        assert gate.counters["clamped"] == clamped
        assert gate.counters["passed"] == number + 1
    assert gate.clamp_ratio == 2 / 6
    assert not gate.offer((1.5, 0, 0, 0), 11 * S, 11.0, 11 * S).stop
    stopped = gate.offer((1.5, 0, 0, 0), 12 * S, 12.0, 12 * S)
    assert (stopped.stop, gate.explanation) == (True, "2 commands in a row beyond [-1, 1]")
    never = moving(replace(EXACT, abort_after_clamped=0))
    assert not any(never.offer((2.0, 0, 0, 0), 10 * S + n, 10.0, 10 * S + n).stop for n in range(1, 200))


def test_steps_as_large_as_allowed_pass_untouched() -> None:
    gate = moving(replace(EXACT, max_step=(0.25,)))
    for number, (value, passed, limited) in enumerate(
        ((0.25, 0.25, 0), (0.0, 0.0, 0), (-0.25, -0.25, 0), (0.5, 0.0, 1), (-1.0, -0.25, 2)), start=1
    ):
        decision = gate.offer((value, 0, 0, 0), 10 * S + number, 10.0, 10 * S + number)
        assert decision.action is not None
        assert decision.action[0] == passed
        assert gate.counters["step_limited"] == limited


BOX = replace(EXACT, workspace_low=(0.0, 0.0, 0.0), workspace_high=(1.0, 1.0, 1.0), max_step=(2.0,))


@pytest.mark.parametrize(("age_s", "passes"), [(0.125, True), (-0.125, True), (0.126, False), (-0.126, False)])
def test_a_position_may_be_as_old_as_a_command(age_s: float, passes: bool) -> None:
    gate = made(BOX)
    gate.observe_position((0.5, 0.5, 0.5), round((20 - age_s) * S))
    assert gate.offer(STILL, 20 * S, 20.0, 20 * S).reason == ("" if passes else "position_unknown")
    assert gate.counters["passed"] == passes


def test_a_position_that_is_no_number_is_none() -> None:
    gate = made(BOX)
    gate.observe_position((0.5, 0.5, 0.5), 20 * S)
    gate.observe_position((0.5, math.nan, 0.5), 20 * S)
    assert gate.offer(STILL, 20 * S, 20.0, 20 * S).reason == "position_unknown"


def test_the_box_is_left_alone_where_it_is_far() -> None:
    gate = made(BOX)
    # A full step is 0.05 m: 1.25 m/s for 0.04 s.
    for number, (place, value, passed, limited) in enumerate(
        (
            (0.5, 1.0, 1.0, 0),
            (0.95, 1.0, 1.0, 0),
            (0.975, 1.0, 0.5, 1),
            (0.975, -1.0, -1.0, 1),
            (0.025, -1.0, -0.5, 2),
            (1.5, 1.0, 0.0, 3),
            (1.5, -0.25, -0.25, 3),
            (-0.5, -1.0, 0.0, 4),
        ),
        start=1,
    ):
        gate.observe_position((place, 0.5, 0.5), 20 * S + number)
        decision = gate.offer((value, 0, 0, 0), 20 * S + number, 20.0, 20 * S + number)
        assert decision.action is not None
        assert decision.action[0] == pytest.approx(passed, abs=1e-6)
        assert gate.counters["workspace_limited"] == limited


def test_a_box_has_three_corners_and_room_inside() -> None:
    assert BOX.violations() == []
    flat = replace(BOX, workspace_low=(0.0, 1.0, 0.0))
    assert flat.violations() == ["workspace_low (0.0, 1.0, 0.0) must be below workspace_high (1.0, 1.0, 1.0)"]
    for low, high in (((0.0, 0.0), (1.0, 1.0)), ((), (1.0, 1.0, 1.0)), ((0.0,) * 4, (1.0,) * 4)):
        (fault,) = replace(BOX, workspace_low=low, workspace_high=high).violations()
        assert fault.startswith("workspace_low, workspace_high: both empty or three numbers, got ")


@pytest.mark.parametrize("state", [GateState.HOLDING, GateState.ACTIVE])
def test_disarming_says_that_somebody_asked_for_it(state: GateState) -> None:
    gate = made() if state is GateState.HOLDING else moving()
    assert gate.state is state
    gate.disarm()
    assert (gate.state, gate.explanation, gate.interrupted) == (GateState.DISARMED, "stopped on request", False)
    assert gate.offer(STILL, 20 * S, 20.0, 20 * S).reason == "disarmed"


def test_resetting_disarms() -> None:
    gate = moving()
    gate.reset()
    assert (gate.state, gate.explanation) == (GateState.DISARMED, "reset, waiting to be armed")


def test_arming_tells_what_it_waits_for_and_changes_nothing_while_armed() -> None:
    gate = made(replace(EXACT, resume_after=7), armed=False)
    gate.arm(10.0)
    assert (gate.state, gate.explanation) == (GateState.HOLDING, "armed, waiting for 7 fresh commands")
    active = moving()
    active.arm(10.0)
    assert (active.state, active.explanation) == (GateState.ACTIVE, "commands pass")


def test_an_emergency_stop_is_told_once_and_stops_every_time() -> None:
    gate = moving()
    assert gate.estop(True, 10.0)
    assert (gate.state, gate.explanation, gate.latched) == (GateState.ESTOPPED, "emergency stop pressed", True)
    assert gate.estop(True, 10.1)
    assert not gate.estop(False, 10.2)
    with pytest.raises(GateError, match=r"cannot arm while estopped \(emergency stop pressed\); call reset first"):
        gate.arm(10.3)
    gate.reset()
    gate.arm(10.3)
    assert gate.state is GateState.HOLDING
    aborted = made()
    for _ in range(3):
        aborted.offer((math.nan,) * 4, 10 * S, 10.0, 10 * S)
    assert aborted.latched
    assert aborted.estop(True, 10.0)
    assert aborted.state is GateState.ESTOPPED


@pytest.mark.parametrize(("silence_s", "stops"), [(0.5, False), (0.51, True)])
def test_the_emergency_stop_may_be_silent_for_as_long_as_it_may(silence_s: float, stops: bool) -> None:
    config = replace(EXACT, estop_timeout_s=0.5)
    for armed in (True, False):
        gate = made(config, armed=False)
        gate.estop(False, 10.0)
        if armed:
            gate.arm(10.0)
            assert gate.watch(10 + silence_s, 0) == stops
            assert gate.state is (GateState.ESTOPPED if stops else GateState.HOLDING)
            assert not stops or gate.explanation == "no e-stop heartbeat for 0.5 s"
        elif stops:
            assert not gate.watch(10 + silence_s, 0), "nothing moves"
            with pytest.raises(GateError, match="cannot arm: the e-stop topic is silent"):
                gate.arm(10 + silence_s)
        else:
            gate.arm(10 + silence_s)


def test_a_new_gate_inherits_what_was_latched() -> None:
    pressed, released, plain = moving(), moving(), moving()
    pressed.estop(True, 10.0)
    released.estop(True, 10.0)
    released.estop(False, 10.0)
    for previous, state, resets in (
        (pressed, GateState.ESTOPPED, False),
        (released, GateState.ESTOPPED, True),
        (plain, GateState.DISARMED, True),
    ):
        gate = made(armed=False)
        gate.inherit(previous)
        assert gate.state is state
        assert gate.explanation == (previous.explanation if gate.latched else "waiting to be armed")
        if resets:
            gate.reset()
            assert gate.state is GateState.DISARMED
        else:
            with pytest.raises(GateError, match="still pressed"):
                gate.reset()


def test_a_jump_of_the_clock_is_told_and_stops_what_moves() -> None:
    gate = moving()
    assert gate.forget()
    assert (gate.state, gate.explanation, gate.interrupted) == (GateState.HOLDING, "the clock jumped", False)
    assert not gate.forget()
    disarmed = made(armed=False)
    assert not disarmed.forget()
    assert disarmed.state is GateState.DISARMED


def test_a_jump_of_the_clock_forgets_fresh_commands() -> None:
    gate = made(replace(EXACT, resume_after=2))
    assert gate.offer(STILL, 10 * S, 10.0, 10 * S).reason == "warming_up"
    gate.forget()
    assert gate.offer(STILL, 5 * S, 10.01, 5 * S).reason == "warming_up"
    assert gate.offer(STILL, 5 * S + 1, 10.02, 5 * S + 1).action is not None


def test_a_jump_of_the_clock_forgets_where_the_robot_was() -> None:
    gate = made(BOX)
    gate.observe_position((0.5, 0.5, 0.5), 20 * S)
    gate.forget()
    assert gate.offer(STILL, 20 * S, 20.0, 20 * S).reason == "position_unknown"


def test_the_last_answer_is_repeated_only_while_it_is_the_last() -> None:
    gate = moving(replace(EXACT, max_step=(2.0,)))
    passed = gate.offer((0.5, 0, 0, 0), 11 * S, 11.0, 11 * S)
    assert gate.offer((0.75, 0, 0, 0), 11 * S, 11.0, 11 * S).action == passed.action
    assert gate.counters["repeated"] == 1
    assert gate.counters["passed"] == 2
    assert gate.watch(12.0, 12 * S)
    # Held meanwhile, it is a fresh command, and the stamp may be used again.
    fresh = gate.offer((0.25, 0, 0, 0), 12 * S, 12.0, 12 * S)
    assert fresh.action is not None
    assert fresh.action[0] == 0.25
