"""A driver's base stands anywhere in the task's world: sensing and every adapter go by the same transform."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_bench import write_driver
from geometry_msgs.msg import PoseStamped, TwistStamped
from ros_graph import Graph, MakeGraph
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from reskill_core.frames import RigidTransform
from reskill_ros.msg import Observation, SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.served_task import task_spec

TASK = task_spec("block")
# A metre ahead, and turned to the left by 90 degrees: the base's x axis is the world's y axis.
BASE = RigidTransform((1.0, 0.5, 0.25), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)))
SENSING = {"base_position_w": list(BASE.position), "base_quat_wxyz": list(BASE.quat_wxyz), "timeout_s": 5.0}
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
FINGER = 0.03
FREE: dict[str, Any] = {"speed_scale": 1.0, "max_step": [2.0], "workspace_low": [], "workspace_high": []}


class Robot:
    """Observation and command node, and the driver's side of both: all it says and hears is in its base frame."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.arrays = graph.listen(Float64MultiArray, "command/positions")
        self.twists = graph.listen(TwistStamped, "command/twist")
        self.trajectories = graph.listen(JointTrajectory, "gripper/command")
        self.observations = graph.listen(Observation, "observation")
        self.executed = graph.listen(SkillAction, "executed_action", qos.RECORD)
        graph.add(ObservationNode())
        self.node = graph.add(CommandNode())
        self._joints = graph.publisher(JointState, "joint_states")
        self._poses = [graph.publisher(PoseStamped, t) for t in ("ee_pose", "objects/block/pose", "goal_pose")]
        self._actions = graph.publisher(SkillAction, "skill_action")
        graph.spin_until(lambda: not self.node.gate.absent_driver, "the driver's ears")

    def observe(self, *position: float, fingers: tuple[float, float] = (FINGER, FINGER)) -> list[float]:
        """Where the gripper is in the task's world, from what the driver says in its own frame."""
        count = len(self.observations)
        stamp = self.graph.stamp()
        for publisher in self._poses:
            publisher.publish(convert.pose_message(stamp, "", position, UPRIGHT))
        self._joints.publish(convert.joint_state_message(stamp, TASK.obs.joints, fingers))
        self.graph.spin_until(lambda: len(self.observations) > count, "the observation")
        observation = convert.observation_values(self.observations[-1])[0]
        return list(observation[TASK.obs.slice("gripper_position")])

    def act(self, *action: float) -> None:
        message = SkillAction(action=array("f", action))
        message.header.stamp = self.observations[-1].header.stamp
        # The gate reads the observation on its own; commands before it has are refused, and may be given again.
        count = len(self.executed)

        def passed() -> bool:
            self._actions.publish(message)
            self.graph.spin_for(0.02)
            return len(self.executed) > count

        self.graph.spin_until(passed, "the gate")


def make_robot(make_graph: MakeGraph, folder: Path, base: str, command: dict[str, Any], **sensing: Any) -> Robot:
    path = Path(write_driver(folder, base, command, **FREE))
    document = yaml.safe_load(path.read_text())
    document["sensing"] |= {"trigger": "synchronised", "episodes": False, **SENSING, **sensing}
    document["base_frame"] = ""
    path.write_text(yaml.safe_dump(document))
    parameters = {"driver": str(path)}
    return Robot(make_graph(observation_node=parameters, command_node={**parameters, "auto_arm": True}))


FORWARD = {"adapter": "cartesian_forward", "options": {"topic": "command/positions"}}


def test_setpoints_and_the_safe_command_are_in_the_drivers_frame(make_graph: MakeGraph, tmp_path: Path) -> None:
    """From the pose the driver said, a step in the world's direction; and stopped, exactly that pose."""
    robot = make_robot(make_graph, tmp_path, "cartesian_forward", FORWARD)
    place_b = (0.4, 0.1, 0.3)
    assert robot.observe(*place_b) == pytest.approx([0.9, 0.9, 0.55]), "BASE by hand"
    robot.act(1.0, 0.0, 0.5, 0.0)
    # Along the world's x axis, which is the base's y axis backwards: 1.25 m/s for 0.04 s.
    assert list(robot.arrays[-1].data) == pytest.approx([0.4, 0.05, 0.325, FINGER])
    assert robot.graph.call(SetBool, "command_node/estop", data=True).success
    robot.graph.spin_until(lambda: list(robot.arrays[-1].data) == pytest.approx([*place_b, FINGER]), "the safe command")


def test_after_its_safe_command_a_position_driver_is_told_nothing(make_graph: MakeGraph, tmp_path: Path) -> None:
    """Pressed again and again, as a heartbeat does: another measured position would make it creep."""
    robot = make_robot(make_graph, tmp_path, "cartesian_forward", FORWARD)
    robot.observe(0.4, 0.1, 0.3)
    robot.act(1.0, 0.0, 0.0, 0.0)
    robot.graph.call(SetBool, "command_node/estop", data=True)
    robot.graph.spin_until(lambda: robot.arrays[-1].data[1] == pytest.approx(0.1), "the safe command")
    commands = len(robot.arrays)
    robot.observe(0.4, 0.1, 0.29)
    for _ in range(3):
        robot.graph.call(SetBool, "command_node/estop", data=True)
    assert len(robot.arrays) == commands


@pytest.mark.parametrize(("finger", "action", "setpoint"), [(0.03, 1.0, 0.05), (0.03, -1.0, 0.0), (0.0, 1.0, 0.05)])
def test_fingers_are_commanded_within_their_range(
    make_graph: MakeGraph, tmp_path: Path, finger: float, action: float, setpoint: float
) -> None:
    """A full action would move them by a metre."""
    robot = make_robot(make_graph, tmp_path, "cartesian_forward", FORWARD)
    robot.observe(0.4, 0.1, 0.3, fingers=(finger, finger))
    robot.act(0.0, 0.0, 0.0, action)
    assert robot.arrays[-1].data[3] == pytest.approx(setpoint)


def test_fingers_are_commanded_as_the_driver_counts_them(make_graph: MakeGraph, tmp_path: Path) -> None:
    """The map of joints holds in both directions."""
    joints = {name: {"sign": -1.0, "offset": 0.05} for name in TASK.obs.joints}
    robot = make_robot(make_graph, tmp_path, "cartesian_forward", FORWARD, joints=joints)
    robot.observe(0.4, 0.1, 0.3, fingers=(0.04, 0.04))
    robot.act(0.0, 0.0, 0.0, 0.0)
    assert robot.arrays[-1].data[3] == pytest.approx(0.04)
    robot.act(0.0, 0.0, 0.0, 0.0)
    robot.observe(0.4, 0.1, 0.3, fingers=(0.04, 0.04))
    robot.act(0.0, 0.0, 0.0, 1.0)
    assert robot.arrays[-1].data[3] == pytest.approx(0.0), "open, which is the driver's zero"


VELOCITIES: dict[str, dict[str, Any]] = {
    "servo_twist": {"frame_id": "torso"},
    "cartesian_forward": {"quantity": "velocity"},
    "by_quantity": {"twist": {"frame_id": "torso"}},
}


@pytest.mark.parametrize("adapter", VELOCITIES)
def test_velocities_are_turned_into_the_drivers_frame(make_graph: MakeGraph, tmp_path: Path, adapter: str) -> None:
    robot = make_robot(make_graph, tmp_path, "sim", {"adapter": adapter, "options": VELOCITIES[adapter]})
    robot.observe(0.4, 0.1, 0.3)
    robot.act(1.0, 0.5, -0.25, 0.0)
    expected = pytest.approx([0.625, -1.25, -0.3125])
    if adapter == "cartesian_forward":
        assert list(robot.arrays[-1].data)[:3] == expected
    else:
        assert list(convert.twist_velocity(robot.twists[-1])) == expected
        assert robot.twists[-1].header.frame_id == "torso"
