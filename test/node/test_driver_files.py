"""Driver files: what is wrong in them is refused at load, all of it at once; the shipped ones keep robots apart."""

from __future__ import annotations

import subprocess
import sys
from array import array
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from described_arms import ARMS, describe, start_joint_states
from geometry_msgs.msg import Twist, TwistStamped
from ros_graph import Graph, MakeGraph
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_core.errors import ConfigError
from reskill_core.resources import config_folder
from reskill_core.spec import TaskSpec
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation, SkillAction
from reskill_sim.families import get_task
from reskill_sim.fetch.constants import JOINT_NAMES

COMMANDS = (Twist, TwistStamped, JointTrajectory, Float64MultiArray)
SHIPPED = sorted((config_folder() / "drivers").glob("*.yaml"))
# What every robot has together with the others, by convention of ROS.
SHARED = {"/diagnostics", "/rosout", "/parameter_events", "/clock"}


def faults(folder: Path, document: Any) -> str:
    path = folder / "bad.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    with pytest.raises(ConfigError) as caught:
        load_driver(str(path), JOINT_NAMES)
    return str(caught.value)


def test_everything_wrong_in_a_driver_file_is_said_at_once(tmp_path: Path) -> None:
    text = faults(
        tmp_path,
        """
base_fram: world
base_frame: base
topics: {joint_state: js}
sensing:
  base_position_w: [0.0, .nan, 0.0]
  base_quat_wxyz: [1.0, 1.0, 0.0, 0.0]
  timeout_s: soon
  joints:
    r_gripper_finger_jont: {name: right}
    l_gripper_finger_joint: {name: left, sing: -1}
    elbow_flex_joint: {sign: 2, offset: .inf}
    wrist_flex_joint: {sign: 0.5}
command:
  adapter: servo_twist
  options:
    unit_speed: .inf
    frame_id: bse
    gripper: {joints: [right_finger, left], open_position: .nan, thresold: 0.1}
gate: {speed_scale: 2.0, max_stp: [1.0], command_timeout_s: .inf}
""",
    )
    for fault in (
        "base_fram: unknown key; did you mean base_frame?",
        "topics.joint_state: unknown key; did you mean topics.joint_states?",
        "sensing.base_position_w: must be finite",
        "sensing.base_quat_wxyz: must be a unit quaternion",
        "sensing.timeout_s: Input should be a valid number",
        "sensing.joints.r_gripper_finger_jont: unknown joint; allowed: ",
        "did you mean r_gripper_finger_joint?",
        "sensing.joints.l_gripper_finger_joint.sing: unknown key; did you mean "
        "sensing.joints.l_gripper_finger_joint.sign?",
        "sensing.joints.elbow_flex_joint.sign: must be 1 or -1, got 2.0",
        "sensing.joints.elbow_flex_joint.offset: must be finite",
        "sensing.joints.wrist_flex_joint.sign: must be 1 or -1, got 0.5",
        "gripper.thresold: unknown key; did you mean gripper.threshold?",
        "unit_speed: must be finite",
        "gripper.open_position: must be finite",
        "command.options.frame_id: commands are in base_frame 'base', got 'bse'",
        "gate.speed_scale: must be at most 1",
        "gate.max_stp: unknown key; did you mean gate.max_step?",
        "gate.command_timeout_s: must be finite",
    ):
        assert fault in text, f"{fault}\n\n{text}"


def test_a_gripper_is_commanded_by_joints_that_the_driver_has(tmp_path: Path) -> None:
    """By the driver's own names, which the map of joints gives."""
    document: dict[str, Any] = {
        "sensing": {"joints": {"r_gripper_finger_joint": {"name": "finger_1"}}},
        "command": {"options": {"gripper": {"joints": ["r_gripper_finger_joint", "l_gripper_finger_joint"]}}},
    }
    text = faults(tmp_path, document)
    assert "command.options: the driver has no joint 'r_gripper_finger_joint'; allowed: " in text
    assert text.count("the driver has no joint") == 1
    document["command"]["options"]["gripper"]["joints"][0] = "finger_1"
    path = tmp_path / "good.yaml"
    path.write_text(yaml.safe_dump(document))
    assert load_driver(str(path)).sensing.joint("r_gripper_finger_joint").name == "finger_1"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (
            {"command": {"adapter": "servo"}},
            "unknown adapter 'servo'; allowed: by_quantity, cartesian_forward, joint_forward, joint_trajectory, servo_",
        ),
        (
            {"command": {"adapter": "cartesian_forward", "options": {"quantity": "psition"}}},
            "quantity: must be one of position, velocity, got 'psition'",
        ),
        (
            {"command": {"adapter": "cartesian_forward", "options": {"gripper_low": 0.1}}},
            "gripper_low 0.1 must be below gripper_high 0.05",
        ),
    ],
)
def test_a_command_that_no_adapter_knows_is_refused(tmp_path: Path, document: Any, fault: str) -> None:
    assert fault in faults(tmp_path, document)


def test_an_unknown_driver_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no driver 'fecth'; allowed: cartesian_forward, fetch, .*, sim, .*; did you mean fetch"
    ):
        load_driver("fecth")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_f46_two_robots_in_two_namespaces_never_cross(make_graph: MakeGraph, tmp_path: Path, path: Path) -> None:
    """With any shipped file: what one robot says or is told, no topic of the other one carries."""
    document = config_to_dict(load_driver(path.stem))
    # It would disarm the right robot, which waits until the left one has moved, on a busy machine.
    document["gate"] |= {"disarm_after_s": 0.0}
    document["gate"] |= {"command_timeout_s": 5.0, "resume_after": 1, "workspace_low": [], "workspace_high": []}
    document["sensing"]["timeout_s"] = 5.0
    file = tmp_path / f"{path.stem}.yaml"
    file.write_text(yaml.safe_dump(document))
    graph = make_graph()
    with ExitStack() as stack:
        task = get_task({"franka": "kitchen", "planar_base": "maze"}.get(path.stem, "block")).spec
        left, right = (Robot(graph, name, file, task, stack) for name in ("left", "right"))
        for robot in (left, right):
            topics = robot.topics()
            assert all(topic.startswith(f"/{robot.name}/") for topic in topics - SHARED), topics
            assert graph.call(Trigger, f"/{robot.name}/command_node/arm").success
        graph.spin_until(left.moves, "the left robot's commands")
        # As many commands again: what the right one is not told meanwhile it is not told at all.
        count = len(left.heard)
        graph.spin_until(lambda: left.moves() and len(left.heard) >= 2 * count, "more of them")
        assert not right.heard
        graph.spin_until(right.moves, "the right robot's commands")


NODES = """
import sys
import rclpy
from rclpy.executors import SingleThreadedExecutor
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.nodes.observation_node import ObservationNode

rclpy.init(args=sys.argv)
executor = SingleThreadedExecutor()
for node in (ObservationNode(), CommandNode()):
    executor.add_node(node)
executor.spin()
"""


class Robot:
    """Observation and command node in a namespace, somebody who acts, and the ears of a driver."""

    def __init__(self, graph: Graph, name: str, driver: Path, task: TaskSpec, stack: ExitStack) -> None:
        self.graph, self.name, self.task = graph, name, task
        arguments = ["--ros-args", "-r", f"__ns:=/{name}", "-p", f"driver:={driver}", "-p", f"task:={task.name}"]
        arguments += ["--log-level", "fatal"]
        self._driver = driver.stem
        describe(graph.probe, self._driver, f"/{name}")
        self._joints = graph.probe.create_publisher(JointState, f"/{name}/joint_states", 10)
        self._process = subprocess.Popen([sys.executable, "-c", NODES, *arguments])
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)
        self._actions = graph.publisher(SkillAction, f"/{name}/skill_action")
        self._observations = graph.probe.create_publisher(Observation, f"/{name}/observation", 10)
        # The node creates it after everything that its topics are.
        graph.spin_until(lambda: f"/{name}/estop" in self.topics(), "all topics")
        self.heard: list[Any] = []
        kinds = {f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}": kind for kind in COMMANDS}
        for topic, types in graph.probe.get_publisher_names_and_types_by_node("command_node", f"/{name}"):
            if types[0] in kinds:
                graph.probe.create_subscription(kinds[types[0]], topic, self.heard.append, 10)

    def topics(self) -> set[str]:
        """Everything that its nodes publish or hear."""
        probe, found = self.graph.probe, set()
        for node in ("observation_node", "command_node"):
            if (node, f"/{self.name}") in probe.get_node_names_and_namespaces():
                for read in (probe.get_publisher_names_and_types_by_node, probe.get_subscriber_names_and_types_by_node):
                    found |= {topic for topic, _ in read(node, f"/{self.name}")}
        return found

    def moves(self) -> bool:
        """Observe and act; whether the driver has heard of it."""
        observation = Observation(task=self.task.name, values=array("d", [1.0] * self.task.obs.dim))
        action = SkillAction(action=array("f", [0.1] * self.task.action.dim))
        observation.header.stamp = action.header.stamp = self.graph.stamp()
        if self._driver in ARMS:
            self._joints.publish(start_joint_states(self.graph.probe, self._driver))
        self._observations.publish(observation)
        self._actions.publish(action)
        return bool(self.heard)
