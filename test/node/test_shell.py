"""What all nodes share: parameters, transitions that fail, signals, diagnostics, conversions."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from array import array
from dataclasses import dataclass, field

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from ros_graph import MakeGraph, text
from std_msgs.msg import Empty

from reskill_core.errors import GraphError, SpecError
from reskill_core.parameters import parameter
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_core.sensing import MessageError
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Latency, Report
from reskill_ros.plumbing.lifecycle import ManagedNode
from reskill_ros.plumbing.params import Parameters, report_unknown_parameters


@dataclass(frozen=True)
class Limits:
    speed: tuple[float, ...] = parameter((1.0,), "speed [m/s]", low=0.0, high=10.0)
    mode: str = parameter("slow", "how", choices=("slow", "fast"))


@dataclass(frozen=True)
class Settings:
    rate_hz: float = parameter(25.0, "how often [Hz]", low=0.1, high=1000.0)
    count: int = parameter(3, "how many", low=1, high=9, read_only=True)
    limits: Limits = field(default_factory=Limits)


def test_parameters_are_declared_with_their_documentation(make_graph: MakeGraph) -> None:
    make_graph(probe={"rate_hz": 50, "limits.mode": "fast", "rat_hz": 4.0})
    graph_node = Node("probe")
    try:
        settings = Parameters(graph_node, Settings())
        assert settings.values == Settings(rate_hz=50.0, limits=Limits(mode="fast"))
        descriptor = graph_node.describe_parameter("rate_hz")
        assert descriptor.description == "how often [Hz]"
        assert descriptor.floating_point_range[0].to_value == 1000.0
        assert graph_node.describe_parameter("count").read_only
        assert report_unknown_parameters(graph_node) == ["rat_hz"]
    finally:
        graph_node.destroy_node()


def test_f42_bad_parameters_are_rejected_and_the_old_values_kept(make_graph: MakeGraph) -> None:
    """Range, type, choice and read-only are enforced while running; a refused set changes nothing."""
    node = make_graph().probe
    settings = Parameters(node, Settings())
    before = settings.values
    for name, value in (
        ("rate_hz", -1.0),
        ("rate_hz", math.nan),
        ("rate_hz", "often"),
        ("limits.mode", "faster"),
        ("limits.speed", [1.0, -1.0]),
        ("count", 5),
    ):
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful, name
        assert name.rpartition(".")[2] in result.reason
    result = node.set_parameters_atomically([Parameter("rate_hz", value=5.0), Parameter("limits.mode", value="no")])
    assert not result.successful
    assert settings.values is before
    assert node.set_parameters([Parameter("rate_hz", value=5)])[0].successful
    assert settings.values == Settings(rate_hz=5.0)


def test_bad_parameters_at_start_are_named_all_at_once(make_graph: MakeGraph) -> None:
    make_graph(other={"rate_hz": 0.0, "limits.mode": "faster", "limits.speed": [-2.0]})
    node = Node("other")
    with pytest.raises(GraphError) as caught:
        Parameters(node, Settings())
    node.destroy_node()
    assert all(name in str(caught.value) for name in ("rate_hz", "limits.mode", "limits.speed"))


class Worker(ManagedNode):
    """A managed node that can be told to fail."""

    def __init__(self) -> None:
        super().__init__("worker", "worker/status")
        self.fail_in = ""
        self.log: list[str] = []

    def configure(self) -> None:
        self.while_configured.callback(self.log.append, "cleaned up")
        self._may_fail("configure")
        subscription = self.create_subscription(Empty, "work", self._on_work, qos.STATE)
        self.while_configured.callback(self.destroy_subscription, subscription)

    def activate(self) -> None:
        self.while_active.callback(self.log.append, "deactivated")
        self._may_fail("activate")

    def _may_fail(self, where: str) -> None:
        if where == self.fail_in:
            raise SpecError(f"told to fail in {where}")

    def _on_work(self, message: Empty) -> None:
        raise RuntimeError("tripped")


def test_a_failed_transition_undoes_itself_and_says_why(make_graph: MakeGraph) -> None:
    graph = make_graph()
    statuses = graph.listen(DiagnosticStatus, "worker/status", qos.LATCHED)
    worker = graph.add(Worker())
    for where, stage, log in (
        ("configure", "unconfigured", ["cleaned up"]),
        ("activate", "inactive", ["cleaned up", "deactivated"]),
    ):
        worker.fail_in = where
        worker.start()
        assert worker.stage == stage
        assert worker.log == log
        graph.spin_until(lambda: statuses and worker.failure == statuses[-1].message, "the reason")
        assert f"told to fail in {where}" in worker.failure
        assert statuses[-1].level == DiagnosticStatus.ERROR
    worker.fail_in = ""
    worker.trigger_activate()
    assert worker.stage == "active"
    graph.spin_until(lambda: statuses[-1].level == DiagnosticStatus.OK)
    graph.remove(worker)
    assert worker.log[2:] == ["deactivated", "cleaned up"], "what activate did is undone first"


def test_f22_an_exception_in_a_callback_deactivates_and_stays_diagnosable(make_graph: MakeGraph) -> None:
    """The node stops working, undoes its activation, and its status tells what happened."""
    graph = make_graph()
    worker = graph.add(Worker())
    worker.start()
    graph.publisher(Empty, "work").publish(Empty())
    with pytest.raises(RuntimeError, match="tripped") as caught:
        graph.spin_until(lambda: False)
    worker.on_callback_error(caught.value)
    assert worker.stage == "inactive"
    statuses = graph.listen(DiagnosticStatus, "worker/status", qos.LATCHED)
    graph.spin_until(lambda: statuses, "the latched status")
    assert "RuntimeError: tripped" in statuses[-1].message


HANGING_NODE = """
import sys, threading, time
from rclpy.node import Node
from reskill_ros.plumbing.node_process import run

class Hanging(Node):
    def __init__(self):
        super().__init__("hanging")
        self.create_timer(0.01, self.hang)

    def hang(self):
        print("busy", flush=True)
        {hang}

    def destroy_node(self):
        print("ended", flush=True)
        super().destroy_node()

sys.exit(run(Hanging, args=[]))
"""


def signalled(hang: str, number: int) -> tuple[int, str]:
    """Exit code and output of a node that gets a signal inside its callback."""
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING_NODE.format(hang=hang)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=100)
    return process.returncode, output


@pytest.mark.parametrize("hang", ["time.sleep(3600)", "while True: pass", "threading.Event().wait()"])
def test_f21_a_hanging_node_is_killable(hang: str) -> None:
    """SIGTERM ends the process though a callback never returns."""
    code, output = signalled(hang, signal.SIGTERM)
    assert code == 1
    assert "a callback does not return" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_node_cleanly(number: int) -> None:
    code, output = signalled("time.sleep(0.05)", number)
    assert code == 0
    assert "Traceback" not in output
    assert output.endswith("ended\n")


def test_diagnostics_carry_state_values_and_counters(make_graph: MakeGraph) -> None:
    graph = make_graph()
    statuses = graph.listen(DiagnosticStatus, "probe/status", qos.LATCHED)

    def report(report: Report) -> None:
        report.state = "working"
        report.values["answer"] = 42
        if diagnostics.growth("drops"):
            report.warn(f"{diagnostics.growth('drops')} drops")

    diagnostics = Diagnostics(graph.probe, report, "probe/status")
    diagnostics.counters["drops"] += 2
    for _ in range(2):
        diagnostics.publish()
    graph.spin_until(lambda: len(statuses) == 2 or (statuses and statuses[-1].level == DiagnosticStatus.OK))
    assert statuses[-1].message == "working"
    assert (text(statuses[-1], "answer"), text(statuses[-1], "drops")) == ("42", "2")
    diagnostics.close()


def test_latency_quantiles() -> None:
    latency = Latency()
    assert latency.summary("x") == {}
    for milliseconds in range(1, 101):
        latency.add(milliseconds * 1e-3)
    assert latency.summary("x") == {"x_p50_ms": 51.0, "x_p99_ms": 99.0, "x_max_ms": 100.0}


def test_conversions_round_trip() -> None:
    assert convert.stamp_to_ns(convert.ns_to_stamp(1_234_567_890_123_456_789)) == 1_234_567_890_123_456_789
    position, quat_wxyz = (0.1, -0.2, 0.3), (0.5, -0.5, 0.5, -0.5)
    message = convert.pose_message(Time(sec=1), "world", position, quat_wxyz)
    assert (message.pose.orientation.w, message.pose.orientation.x) == (0.5, -0.5)
    assert convert.pose(message.pose) == (position, quat_wxyz)
    joints = convert.joint_state_message(Time(), ("a", "b"), np.array([1.0, 2.0]))
    assert convert.joint_positions(joints) == {"a": 1.0, "b": 2.0}
    rng = np.random.default_rng(0)
    action = CoreSkillAction(
        action=rng.standard_normal((1, 4), dtype=np.float32),
        decoded_action=rng.standard_normal((1, 4), dtype=np.float32),
        residual=rng.standard_normal((1, 4), dtype=np.float32),
        residual_weight=np.array([0.25], np.float32),
        latent=rng.standard_normal((1, 10), dtype=np.float32),
        skill_step=np.array([7]),
    )
    back = convert.skill_action(convert.skill_action_message(action, "test", 0.5))
    for name in ("action", "decoded_action", "residual", "residual_weight", "latent", "skill_step"):
        np.testing.assert_array_equal(getattr(back, name), getattr(action, name))


def test_commands_that_are_not_finite_are_refused_by_drivers_too() -> None:
    twist = TwistStamped()
    twist.twist.linear.y = math.nan
    with pytest.raises(MessageError) as caught:
        convert.twist_velocity(twist)
    assert caught.value.reason == "non_finite"
    trajectory = convert.trajectory_message(("a", "b"), 0.04)
    trajectory.points[0].velocities = array("d", [1.0])
    with pytest.raises(MessageError, match="2 joints, has 1 velocities"):
        convert.trajectory_point(trajectory)
    assert trajectory.points[0].time_from_start.nanosec == 40_000_000


@pytest.mark.parametrize(
    ("node", "parameter", "message"),
    [
        ("observation_node", "driver", "error: no driver 'nowhere'; allowed: "),
        ("sim_node", "task", "error: unknown task 'nowhere'; allowed: "),
        ("demonstrator_node", "task", "error: unknown task 'nowhere'; allowed: "),
        ("recorder_node", "task", "error: unknown task 'nowhere'; allowed: "),
    ],
)
def test_a_wrong_parameter_ends_a_node_with_one_line(node: str, parameter: str, message: str) -> None:
    command = [sys.executable, "-m", f"reskill_ros.nodes.{node}", "--ros-args", "-p", f"{parameter}:=nowhere"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert process.returncode == 2
    assert process.stderr.startswith(message)
    assert len(process.stderr.splitlines()) == 1
