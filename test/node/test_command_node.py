"""command_node: what of skill actions reaches the driver, and what does when they stop or go wrong."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from builtin_interfaces.msg import Time
from command_bench import STILL, Bench, write_driver
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_graph import MakeGraph, text
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import now_ns


@pytest.fixture
def bench(make_graph: MakeGraph, tmp_path: Path) -> Bench:
    driver = write_driver(tmp_path)
    return Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))


def test_actions_become_the_drivers_commands(bench: Bench) -> None:
    """Velocity is action times scale, exactly; the stamp is the observation's; fingers move alike."""
    assert bench.move(0.5, -0.25, 1.0, -0.5) == [0.625, -0.3125, 1.25]
    bench.graph.spin_until(lambda: bench.fingers and bench.executed)
    twist, trajectory, executed = bench.twists[-1], bench.fingers[-1], bench.executed[-1]
    assert list(trajectory.points[-1].velocities) == [-12.5, -12.5]
    assert list(executed.action) == [0.5, -0.25, 1.0, -0.5]
    assert twist.header.stamp == trajectory.header.stamp == executed.header.stamp
    assert twist.header.frame_id == "world", "the simulator's base frame"


def test_starts_disarmed_and_says_so(make_graph: MakeGraph, tmp_path: Path) -> None:
    bench = Bench(make_graph(command_node={"driver": write_driver(tmp_path)}))
    bench.wait_for("disarmed")
    bench.act(0.5, 0, 0, 0)
    bench.wait_count("refused_disarmed", 1)
    assert not bench.twists
    assert bench.graph.call(Trigger, "command_node/arm").success
    assert bench.move(0.5, 0, 0, 0) == [0.625, 0, 0]
    assert bench.graph.call(Trigger, "command_node/stop").success
    bench.wait_for("disarmed")
    bench.graph.spin_until(lambda: convert.twist_velocity(bench.twists[-1]) == (0, 0, 0))


def test_f01_silence_makes_the_robot_stand_still_once(make_graph: MakeGraph, tmp_path: Path) -> None:
    """When actions stop: one safe command, HOLDING, ERROR; motion resumes only after N fresh ones."""
    driver = write_driver(tmp_path, command_timeout_s=0.3, resume_after=2)
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    while not bench.twists:
        bench.act(0.5, 0, 0, 0)
        bench.graph.spin_for(0.02)
    # It has held before, until commands came.
    bench.graph.spin_until(lambda: "no fresh command" in bench.statuses[-1].message, "the silence in the status")
    assert text(bench.statuses[-1], "state") == "holding"
    assert bench.statuses[-1].level == DiagnosticStatus.ERROR
    bench.graph.spin_until(lambda: convert.twist_velocity(bench.twists[-1]) == (0, 0, 0), "the safe command")
    commands, warming_up = len(bench.twists), bench.count("refused_warming_up")
    bench.act(0.5, 0, 0, 0)
    bench.wait_count("refused_warming_up", warming_up + 1)
    assert len(bench.twists) == commands
    while len(bench.twists) == commands:
        bench.act(0.5, 0, 0, 0)
        bench.graph.spin_for(0.02)
    bench.graph.spin_until(lambda: convert.twist_velocity(bench.twists[-1]) != (0, 0, 0), "motion")


def test_f10_reordered_actions_are_dropped_and_counted(bench: Bench) -> None:
    """An action older than the newest moves nothing and is counted."""
    early = bench.graph.stamp()
    bench.move(0.5, 0, 0, 0)
    bench.act(1.0, 0, 0, 0, stamp=early)
    bench.wait_count("refused_reordered", 1)
    assert len(bench.twists) == 1


def test_f16_non_finite_actions_are_dropped_and_abort_in_a_row(make_graph: MakeGraph, tmp_path: Path) -> None:
    """A NaN is dropped before it is encoded; K in a row abort the run with a safe command and ERROR."""
    driver = write_driver(tmp_path, abort_after_bad=3)
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    bench.move(0.5, 0, 0, 0)
    for count, bad in enumerate((math.nan, math.inf), start=1):
        bench.act(0.1, bad, 0, 0)
        bench.wait_count("refused_non_finite", count)
    assert bench.move(0.5, 0, 0, 0) == [0.625, 0, 0], "one or two are survived"
    for count in range(3, 6):
        bench.act(0.1, math.nan, 0, 0)
        bench.wait_count("refused_non_finite", count)
    status = bench.wait_for("aborted")
    assert status.level == DiagnosticStatus.ERROR
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the safe command")
    assert all(math.isfinite(value) for twist in bench.twists for value in (twist.twist.linear.y,))
    assert not bench.graph.call(Trigger, "command_node/arm").success
    assert bench.graph.call(Trigger, "command_node/reset").success
    assert bench.graph.call(Trigger, "command_node/arm").success
    bench.move(0.5, 0, 0, 0)


def test_f17_actions_beyond_the_limits_are_clamped_and_reported(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Beyond [-1, 1] is clamped, the ratio is in the diagnostics, and persistent clamping aborts."""
    driver = write_driver(tmp_path, abort_after_clamped=2)
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    assert bench.move(3.0, -0.5, 0, 0) == [1.25, -0.625, 0]
    bench.graph.spin_until(lambda: bench.executed)
    assert list(bench.executed[-1].action) == [1.0, -0.5, 0, 0]
    bench.graph.spin_until(lambda: text(bench.statuses[-1], "clamp_ratio") == "1.0", "the clamp ratio")
    bench.act(3.0, 0, 0, 0)
    assert bench.wait_for("aborted").level == DiagnosticStatus.ERROR


def test_f18_large_steps_are_limited_and_flagged(make_graph: MakeGraph, tmp_path: Path) -> None:
    """From one command to the next an action changes by no more than its limit."""
    driver = write_driver(tmp_path, max_step=[0.25, 0.25, 0.25, 2.0])
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    assert bench.move(1.0, 0, 0, 0) == [0.3125, 0, 0]
    assert bench.move(1.0, -1.0, 0, 0) == [0.625, -0.3125, 0]
    assert bench.count("step_limited") == 2


def test_f21_a_hanging_policy_does_not_keep_the_robot_moving(
    make_graph: MakeGraph, tmp_path: Path, skills: Path
) -> None:
    """The policy's process hangs: this one, which is another, sends the safe command and holds."""
    driver = write_driver(tmp_path, command_timeout_s=0.5)
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    command = [sys.executable, "-m", "reskill_ros.nodes.policy_node", "--ros-args", "-p", f"skills:={skills}"]
    policy = subprocess.Popen(command)
    try:
        observations = bench.graph.publisher(Observation, "observation")
        observation = Observation(task="block", values=array("d", [1.0] * 25))

        def observe() -> None:
            observation.header.stamp = bench.graph.stamp()
            observation.episode_step += 1
            observations.publish(observation)

        timer = bench.graph.probe.create_timer(0.04, observe)
        bench.wait_for("active")
        os.kill(policy.pid, signal.SIGSTOP)
        bench.wait_for("holding")
        bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the safe command")
        bench.graph.probe.destroy_timer(timer)
    finally:
        policy.kill()
        policy.wait()


def test_f36_deactivation_during_motion_sends_the_safe_command_last(bench: Bench) -> None:
    """Deactivate: the loop stops, then the safe command, and nothing after it; the same on shutdown."""
    bench.move(0.5, 0, 0, 1.0)
    bench.act(0.7, 0, 0, 0)
    bench.node.trigger_deactivate()
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the safe command")
    count = len(bench.twists)
    bench.act(0.5, 0, 0, 0)
    bench.wait_count("refused_disarmed", 1)
    assert len(bench.twists) == count
    bench.graph.spin_until(lambda: list(bench.fingers[-1].points[-1].velocities) == [0, 0], "fingers at rest")
    bench.node.trigger_activate()
    bench.move(0.5, 0, 0, 0)
    bench.graph.remove(bench.node)
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the last command")


def test_f11_a_clock_that_jumps_back_stops_the_robot(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Safe command and HOLDING; afterwards the earlier stamps are the fresh ones."""
    bench = Bench(make_graph(command_node={"driver": write_driver(tmp_path), "auto_arm": True, "use_sim_time": True}))
    clock = bench.graph.publisher(Clock, "/clock")

    def set_clock(second: int) -> None:
        clock.publish(Clock(clock=Time(sec=second)))
        bench.graph.spin_until(lambda: now_ns(bench.node) == second * 10**9, "the clock")

    set_clock(100)
    bench.act(0.5, 0, 0, 0, stamp=Time(sec=100))
    bench.wait_for("active")
    set_clock(10)
    assert bench.wait_for("holding").message.endswith("the clock jumped")
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the safe command")
    bench.act(0.5, 0, 0, 0, stamp=Time(sec=10))
    bench.wait_for("active")


def test_f37_estop_by_service_or_topic_is_latched(bench: Bench) -> None:
    """An emergency stop acts at once and needs an explicit reset."""
    bench.move(0.5, 0, 0, 0)
    bench.graph.publisher(Bool, "estop").publish(Bool(data=True))
    assert bench.wait_for("estopped").level == DiagnosticStatus.ERROR
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL)
    assert "still pressed" in bench.graph.call(Trigger, "command_node/reset").message
    assert bench.graph.call(SetBool, "command_node/estop", data=False).success
    assert "call reset first" in bench.graph.call(Trigger, "command_node/arm").message
    assert bench.graph.call(Trigger, "command_node/reset").success
    bench.wait_for("disarmed")


def reconfigure(node: CommandNode) -> None:
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.start()
    assert node.stage == "active"


def test_f37_a_pressed_estop_outlives_lifecycle_transitions(bench: Bench) -> None:
    """Configured again with auto_arm it is still stopped, and still knows that the e-stop is pressed."""
    bench.move(0.5, 0, 0, 0)
    bench.graph.publisher(Bool, "estop").publish(Bool(data=True))
    bench.wait_for("estopped")
    reconfigure(bench.node)
    assert "emergency stop pressed" in bench.wait_for("estopped").message
    bench.act(0.5, 0, 0, 0)
    bench.wait_count("refused_estopped", 1)
    assert "call reset first" in bench.graph.call(Trigger, "command_node/arm").message
    assert "still pressed" in bench.graph.call(Trigger, "command_node/reset").message
    assert bench.graph.call(SetBool, "command_node/estop", data=False).success
    reconfigure(bench.node)
    bench.wait_for("estopped")
    assert bench.graph.call(Trigger, "command_node/reset").success
    assert bench.graph.call(Trigger, "command_node/arm").success
    bench.move(0.5, 0, 0, 0)


def test_f16_an_abort_outlives_lifecycle_transitions(make_graph: MakeGraph, tmp_path: Path) -> None:
    driver = write_driver(tmp_path, abort_after_bad=1)
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    bench.act(math.nan, 0, 0, 0)
    bench.wait_for("aborted")
    reconfigure(bench.node)
    assert bench.node.gate.state.value == "aborted"
    assert bench.graph.call(Trigger, "command_node/reset").success
    reconfigure(bench.node)
    assert bench.node.gate.state.value == "holding", "after a reset auto_arm arms again"


@pytest.mark.parametrize(
    ("reason", "task", "values"),
    [
        ("other_task", "hook", [1.2] * 25),
        ("wrong_size", "block", [1.2] * 3),
        ("non_finite", "block", [math.nan] * 25),
    ],
)
def test_what_is_no_observation_of_the_task_is_refused(
    make_graph: MakeGraph, tmp_path: Path, reason: str, task: str, values: list[float]
) -> None:
    """From whoever it comes: counted, reported, and without effect."""
    counter = f"refused_observation_{reason}"
    driver = write_driver(tmp_path, workspace_low=[1.0, 0.5, 0.4], workspace_high=[1.5, 1.0, 0.8])
    bench = Bench(make_graph(command_node={"driver": driver, "auto_arm": True}))
    message = Observation(task=task, values=array("d", values))
    message.header.stamp = bench.graph.stamp()
    bench.graph.publisher(Observation, "observation").publish(message)
    bench.graph.spin_until(lambda: bench.statuses and text(bench.statuses[-1], counter) == "1", counter)
    assert "1 observations refused" in bench.statuses[-1].message
    assert bench.node.stage == "active"
    assert bench.node.measured is None


def test_a_reset_during_motion_stops_the_robot(bench: Bench) -> None:
    """It disarms, so nobody watches for silence any more: the safe command has to come at once."""
    bench.move(0.5, 0, 0, 0)
    assert bench.graph.call(Trigger, "command_node/reset").success
    bench.wait_for("disarmed")
    bench.graph.spin_until(lambda: list(convert.twist_velocity(bench.twists[-1])) == STILL, "the safe command")


def test_f42_a_bad_parameter_at_run_time_is_rejected(bench: Bench) -> None:
    """The old value stays; a good one takes effect with the next command."""
    answer = bench.graph.call(
        SetParameters,
        "command_node/set_parameters",
        parameters=[Parameter("gate.speed_scale", value=1.5).to_parameter_msg()],
    )
    assert not answer.results[0].successful
    answer = bench.graph.call(
        SetParameters,
        "command_node/set_parameters",
        parameters=[Parameter("gate.max_step", value=[-1.0]).to_parameter_msg()],
    )
    assert "max_step: must be at least 0, got -1.0" in answer.results[0].reason
    answer = bench.graph.call(
        SetParameters,
        "command_node/set_parameters",
        parameters=[Parameter("gate.max_step", value=[0.1, 0.1]).to_parameter_msg()],
    )
    assert "max_step: has 2 values, but the actions are x, y, z, gripper" in answer.results[0].reason
    assert bench.move(1.0, 0, 0, 0) == [1.25, 0, 0]
    bench.node.set_parameters([Parameter("gate.speed_scale", value=0.5)])
    assert bench.move(1.0, 0, 0, 0) == [0.625, 0, 0]


@pytest.mark.parametrize(("kind", "topic"), [(TwistStamped, "/command/twist"), (SkillAction, "/skill_action")])
def test_f13_a_second_publisher_of_commands_is_reported(bench: Bench, kind: type, topic: str) -> None:
    """Of those to the driver, and of those to the gate; but anybody may press the e-stop."""
    other = bench.graph.add(Node("policy_node", namespace="/other"))
    other.create_publisher(Bool, "/estop", qos.COMMAND)
    other.create_publisher(Bool, "/estop", qos.COMMAND)
    other.create_publisher(kind, topic, qos.STATE)
    bench.graph.spin_until(lambda: bench.statuses and f"{topic} has 2 publishers: " in bench.statuses[-1].message)
    assert "/other/policy_node" in bench.statuses[-1].message
    assert "/estop has" not in bench.statuses[-1].message
    assert bench.statuses[-1].level == DiagnosticStatus.WARN


def test_transitions_leave_nothing_behind(bench: Bench) -> None:
    """What configure creates cleanup destroys, twice over."""

    def entities() -> tuple[int, ...]:
        node = bench.node
        parts = (node.publishers, node.subscriptions, node.timers, node.services)
        return tuple(len(list(part)) for part in parts)

    active = entities()
    counts = []
    for _ in range(2):
        bench.node.trigger_deactivate()
        bench.node.trigger_cleanup()
        counts.append(entities())
        bench.node.start()
        assert entities() == active
    assert counts[0] == counts[1]
    assert sum(counts[0]) < sum(active)
