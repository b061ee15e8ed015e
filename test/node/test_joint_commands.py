"""Arms that are commanded by their joints: what adapters send, where motion starts, and when nothing passes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from described_arms import ARMS, describe
from dh_arms import UR5E
from geometry_msgs.msg import Twist
from rclpy.action import ActionServer
from ros_graph import Graph, MakeGraph
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_core.errors import ConfigError
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.plumbing import convert
from reskill_sim.kinematics import load_arm

PERIOD_S = 0.04
TRAJECTORIES = {
    "ur5e": "scaled_joint_trajectory_controller/joint_trajectory",
    "so101": "arm_controller/joint_trajectory",
}
# Full speed is 1.25 m/s.
ACTION = (0.2, -0.1, 0.0, 0.0)
VELOCITY = (0.25, -0.125, 0.0)


class Arm:
    """A command node that is armed, with the arm's driver and somebody who acts."""

    def __init__(self, graph: Graph, driver: str) -> None:
        self.graph, self.names = graph, list(reversed(ARMS[driver].joints))
        self.positions = dict(zip(ARMS[driver].joints, ARMS[driver].start, strict=True))
        self._described = describe(graph.probe, driver)
        self.trajectories = graph.listen(JointTrajectory, TRAJECTORIES.get(driver, "none"))
        self.fingers = graph.listen(JointTrajectory, "gripper_controller/joint_trajectory")
        self.arrays = graph.listen(Float64MultiArray, "forward_position_controller/commands")
        self.velocities = graph.listen(Float64MultiArray, "joint_velocity_controller/commands")
        self.twists = graph.listen(Twist, "twist_controller/commands")
        self.finger_arrays = graph.listen(Float64MultiArray, "gripper_forward_controller/commands")
        self.executed = graph.listen(SkillAction, "executed_action")
        self.node = graph.add(CommandNode())
        self._joints = graph.publisher(JointState, "joint_states")
        self._actions = graph.publisher(SkillAction, "skill_action")
        self._observations = graph.probe.create_publisher(Observation, "observation", 10)
        graph.spin_until(lambda: not self.node.gate.absent_driver, "the driver's ears")

    def measure(self, **changes: float) -> None:
        """Publish joint states, in an order of the driver's own, until the gate lacks nothing."""
        self.positions |= changes
        self.say({name: self.positions[name] for name in self.names})
        self.graph.spin_until(lambda: not self.node.adapter.missing(0.0), "joint states")

    def say(self, positions: Mapping[str, float]) -> None:
        """Publish joint states."""
        message = convert.joint_state_message(self.graph.stamp(), list(positions), positions.values())
        self._joints.publish(message)

    def offer(self, *action: float) -> None:
        """Publish an action, and an observation that it may answer."""
        observation = Observation(task="block", values=array("d", [1.3, 0.75, 0.5, *[0.0] * 22]))
        message = SkillAction(action=array("f", action))
        observation.header.stamp = message.header.stamp = self.graph.stamp()
        self._observations.publish(observation)
        self._actions.publish(message)

    def act(self, *action: float) -> None:
        """Act until the gate has let it pass."""
        count = len(self.executed)

        def passed() -> bool:
            self.offer(*action)
            self.graph.spin_for(0.02)
            return len(self.executed) > count

        self.graph.spin_until(passed, "the gate")


def make_arm(make_graph: MakeGraph, folder: Path, driver: str, **changes: dict[str, Any]) -> Arm:
    """With long time-outs, because the machine may be busy, and without limits that would change actions."""
    document = config_to_dict(load_driver(driver))
    document["gate"] |= {"command_timeout_s": 30.0, "resume_after": 1, "max_step": [2.0], "speed_scale": 1.0}
    document["sensing"]["timeout_s"] = 30.0
    for section, values in changes.items():
        document[section] |= values
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return Arm(make_graph(command_node={"driver": str(path), "auto_arm": True}), driver)


def moved(driver: str, target: list[float]) -> Any:
    """Way of the gripper frame from the start to a target of the joints, in the base frame."""
    config = load_driver(driver).kinematics
    arm = load_arm(config, ARMS[driver].urdf())
    return arm.pose(np.array(target))[0] - arm.pose(np.array(ARMS[driver].start))[0]


@pytest.mark.parametrize("driver", TRAJECTORIES)
def test_a_trajectory_goes_where_the_action_points_and_ends_at_rest(
    make_graph: MakeGraph, tmp_path: Path, driver: str
) -> None:
    """Everything that a joint trajectory controller demands, and a stop behind what is asked for."""
    arm = make_arm(make_graph, tmp_path, driver)
    arm.measure()
    arm.act(*ACTION)
    message = arm.trajectories[0]
    joints, start = ARMS[driver].joints, ARMS[driver].start
    assert list(message.joint_names) == list(joints)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
    first, last = message.points
    assert [point.time_from_start.nanosec for point in (first, last)] == [40_000_000, 240_000_000]
    # The smaller the arm, the less is a step of its joints a straight one.
    np.testing.assert_allclose(moved(driver, list(first.positions)), np.array(VELOCITY) * PERIOD_S, atol=4e-4)
    np.testing.assert_allclose(first.velocities, (np.array(first.positions) - start) / PERIOD_S, atol=1e-9)
    assert list(last.velocities) == [0.0] * len(joints)
    # Constant deceleration over 0.2 s.
    np.testing.assert_allclose(last.positions, np.array(first.positions) + np.array(first.velocities) * 0.1, atol=1e-9)


@pytest.mark.parametrize(
    ("driver", "joint", "opened", "closed"), [("ur5e", "finger_joint", 0.0, 0.8), ("so101", "gripper", 1.35, -0.1)]
)
def test_a_gripper_with_one_joint_is_commanded_as_its_driver_counts(
    make_graph: MakeGraph, tmp_path: Path, driver: str, joint: str, opened: float, closed: float
) -> None:
    arm = make_arm(make_graph, tmp_path, driver)
    arm.measure()
    for finger in (0.1, 1.0, -1.0):
        arm.act(0.0, 0.0, 0.0, finger)
    arm.graph.spin_until(lambda: len(arm.fingers) == 2, "the gripper's commands")
    assert [list(message.joint_names) for message in arm.fingers] == [[joint]] * 2
    assert [list(message.points[0].positions) for message in arm.fingers] == [[opened], [closed]]


def test_a_controller_that_smooths_positions_gets_one_position(make_graph: MakeGraph, tmp_path: Path) -> None:
    options = load_driver("ur5e").command.options | {"form": "positions"}
    arm = make_arm(make_graph, tmp_path, "ur5e", command={"options": options})
    arm.measure()
    arm.act(*ACTION)
    (point,) = arm.trajectories[0].points
    assert not point.velocities
    assert moved("ur5e", list(point.positions))[0] == pytest.approx(VELOCITY[0] * PERIOD_S, abs=2e-4)


def test_a_stop_is_where_the_arm_is_measured_and_motion_starts_there_again(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    arm = make_arm(make_graph, tmp_path, "ur5e")
    arm.measure()
    for _ in range(3):
        arm.act(*ACTION)
    arm.measure(elbow_joint=UR5E.start[2] + 0.01)
    count = len(arm.trajectories)
    for pressed in (True, True):
        assert arm.graph.call(SetBool, "command_node/estop", data=pressed).success
    arm.graph.spin_until(lambda: len(arm.trajectories) > count, "the safe command")
    (stop,) = arm.trajectories[-1].points
    assert dict(zip(arm.trajectories[-1].joint_names, stop.positions, strict=True)) == pytest.approx(arm.positions)
    assert list(stop.velocities) == [0.0] * 6
    arm.graph.spin_for(0.1)
    assert len(arm.trajectories) == count + 1, "sent once"


def test_without_fresh_joint_states_nothing_passes_and_a_motion_is_stopped(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    arm = make_arm(make_graph, tmp_path, "ur5e", sensing={"timeout_s": 0.5, "gripper": "topic"})
    arm.offer(*ACTION)
    arm.graph.spin_until(lambda: arm.node.gate.counters["refused_no_feedback"], "a refusal")
    assert "fresh joint states of shoulder_pan_joint" in arm.node.gate.missing_feedback
    arm.say({"elbow_joint": float("nan")})
    arm.graph.spin_until(lambda: arm.node.adapter.counters["refused_joints_non_finite"] == 1, "a refusal")

    def moving() -> bool:
        arm.measure()
        arm.act(*ACTION)
        return bool(arm.trajectories)

    arm.graph.spin_until(moving, "motion")
    arm.graph.spin_until(lambda: arm.node.gate.state.value == "holding", "the hold")
    assert arm.node.gate.counters["feedback_losses"] == 1
    assert list(arm.trajectories[-1].points[-1].velocities) == [0.0] * 6


def test_positions_and_velocities_of_joints_are_labelled(make_graph: MakeGraph, tmp_path: Path) -> None:
    arm = make_arm(make_graph, tmp_path, "gen3")
    arm.measure()
    arm.act(*ACTION[:3], 1.0)
    arm.graph.spin_until(lambda: arm.finger_arrays, "the gripper's command")
    assert [item.label for item in arm.arrays[0].layout.dim] == list(ARMS["gen3"].joints)
    way = moved("gen3", list(arm.arrays[0].data))
    # The Gen3 is slower than that: in the same direction.
    slowed = way[0] / (VELOCITY[0] * PERIOD_S)
    assert 0.1 < slowed <= 1.01
    np.testing.assert_allclose(way, np.array(VELOCITY) * PERIOD_S * slowed, atol=3e-4)
    assert list(arm.finger_arrays[0].data) == [0.05, 0.05]


def test_a_velocity_driver_is_told_velocities_and_zero_to_stop(make_graph: MakeGraph, tmp_path: Path) -> None:
    arm = make_arm(make_graph, tmp_path, "fr3")
    arm.measure()
    arm.act(*ACTION)
    rates = np.array(arm.velocities[0].data)
    np.testing.assert_allclose(
        moved("fr3", list(ARMS["fr3"].start + rates * PERIOD_S)), np.array(VELOCITY) * PERIOD_S, atol=2e-4
    )
    arm.graph.call(SetBool, "command_node/estop", data=True)
    arm.graph.spin_until(lambda: len(arm.velocities) > 1, "the safe command")
    assert list(arm.velocities[-1].data) == [0.0] * 7


def test_a_twist_along_the_axes_of_the_tool_moves_the_gripper_as_commanded(
    make_graph: MakeGraph, tmp_path: Path
) -> None:
    """The wrist is turned, so that no axis of the tool is one of the base."""
    arm = make_arm(make_graph, tmp_path, "gen3_twist")
    arm.offer(*ACTION)
    arm.graph.spin_until(lambda: arm.node.gate.counters["refused_no_feedback"], "a refusal without joint states")
    arm.measure(joint_5=0.4, joint_7=0.9)
    arm.act(*ACTION)
    config = load_driver("gen3_twist").kinematics
    measured = np.array([arm.positions[name] for name in ARMS["gen3_twist"].joints])
    ends = np.vstack([config.tool_position, np.array(config.tool_position) + np.eye(3)])
    origin, *axis_ends = (
        load_arm(replace(config, tool_position=tuple(end)), ARMS["gen3_twist"].urdf()).pose(measured)[0] for end in ends
    )
    linear = arm.twists[0].linear
    moved = sum(speed * (end - origin) for speed, end in zip((linear.x, linear.y, linear.z), axis_ends, strict=True))
    np.testing.assert_allclose(moved, VELOCITY, atol=1e-6)
    arm.graph.call(SetBool, "command_node/estop", data=True)
    arm.graph.spin_until(lambda: arm.twists[-1] == Twist(), "the safe command")


def test_joints_are_commanded_within_the_range_of_the_driver_file(make_graph: MakeGraph, tmp_path: Path) -> None:
    """A joint map in both directions, and its range kept, less the margin."""
    joints = config_to_dict(load_driver("ur5e"))["sensing"]["joints"]
    joints["shoulder_pan_joint"] = {"name": "pan", "sign": -1.0, "offset": 0.5, "low": 0.4}
    arm = make_arm(make_graph, tmp_path, "ur5e", sensing={"joints": joints}, kinematics={"max_lead_s": 1.0})
    arm.names[arm.names.index("shoulder_pan_joint")] = "pan"
    del arm.positions["shoulder_pan_joint"]
    arm.measure(pan=0.5)
    for _ in range(30):
        arm.act(0.0, 0.2, 0.0, 0.0)
    pans = [message.points[0].positions[message.joint_names.index("pan")] for message in arm.trajectories]
    assert pans[0] < 0.5, "to the left, which this driver counts backwards"
    assert min(pans) == pytest.approx(0.45, abs=1e-3)


@pytest.mark.parametrize(
    "command", [{"adapter": "joint_trajectory"}, {"adapter": "twist", "options": {"axes": "tool"}}]
)
def test_a_driver_that_needs_a_model_is_refused_without_one(
    make_graph: MakeGraph, tmp_path: Path, command: dict[str, Any]
) -> None:
    fault = configuration_fault(make_graph, tmp_path, {"command": command})
    assert "kinematics.model must say what arm it is" in fault


@pytest.mark.parametrize("interface", ["gripper_command", "parallel_gripper_command"])
def test_gripper_actions(make_graph: MakeGraph, tmp_path: Path, interface: str) -> None:
    """One goal per change; without the action's server nothing passes."""
    actions = pytest.importorskip("control_msgs.action", reason="control_msgs is not installed; pip has none")
    kind = {"gripper_command": "GripperCommand", "parallel_gripper_command": "ParallelGripperCommand"}[interface]
    action, goals = getattr(actions, kind), []
    options = load_driver("ur5e").command.options
    options["gripper"] |= {"interface": interface, "topic": "gripper_cmd", "max_effort": 40.0}
    arm = make_arm(make_graph, tmp_path, "ur5e", command={"options": options})
    arm.say({name: arm.positions[name] for name in arm.names})
    arm.graph.spin_until(lambda: "gripper_cmd" in arm.node.gate.missing_feedback, "the report of the missing server")

    def execute(handle: Any) -> Any:
        goals.append(handle.request.command)
        handle.succeed()
        return action.Result()

    server = ActionServer(arm.graph.probe, action, "gripper_cmd", execute)
    for finger in (1.0, 0.1, -1.0):
        arm.measure()
        arm.act(0.0, 0.0, 0.0, finger)
    arm.graph.spin_until(lambda: len(goals) == 2, "two goals")
    if interface == "gripper_command":
        assert [(goal.position, goal.max_effort) for goal in goals] == [(0.0, 40.0), (0.8, 40.0)]
    else:
        assert [(list(goal.name), list(goal.position)) for goal in goals] == [
            (["finger_joint"], [0.0]),
            (["finger_joint"], [0.8]),
        ]
        assert list(goals[0].effort) == [40.0]
    server.destroy()


def test_a_gripper_action_needs_its_package(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Which is not there where ROS 2 comes from pip."""
    if find_spec("control_msgs"):
        pytest.skip("control_msgs is installed")
    gripper = {"interface": "parallel_gripper_command", "mode": "open_close"}
    document = {"command": {"adapter": "servo_twist", "options": {"gripper": gripper}}}
    assert "apt install ros-$ROS_DISTRO-control-msgs" in configuration_fault(make_graph, tmp_path, document)


def configuration_fault(make_graph: MakeGraph, folder: Path, document: dict[str, Any]) -> str:
    """Why a node with a driver file cannot be configured."""
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    node = make_graph(command_node={"driver": str(path), "autostart": False}).add(CommandNode())
    with pytest.raises(ConfigError) as caught:
        node.configure()
    return str(caught.value)
