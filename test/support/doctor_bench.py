"""A robot with faults to choose from, and ``reskill doctor`` to examine it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from described_arms import describe, start_joint_states
from geometry_msgs.msg import PoseStamped
from ros_graph import Graph
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.plumbing import convert, qos

ARM = "scaled_joint_trajectory_controller/joint_trajectory"
GRIPPER = "gripper_controller/joint_trajectory"
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


class Robot:
    """A UR5e's driver and perception, with faults to choose from."""

    def __init__(
        self,
        graph: Graph,
        frame: str = "base_link",
        without: tuple[str, ...] = (),
        finger: float = 0.1,
        period_s: float = 0.01,
    ) -> None:
        self.graph, self._frame, self._finger = graph, frame, finger
        self._described = describe(graph.probe, "" if "description" in without else "ur5e")
        self._joints = graph.probe.create_publisher(JointState, "joint_states", 10)
        self._block = graph.probe.create_publisher(PoseStamped, "perception/block/pose", 10)
        self._goal = graph.probe.create_publisher(PoseStamped, "goal_pose", qos.LATCHED)
        self._without = without
        self._publish(self._goal, (0.6, 0.1, 0.02))
        for topic in {ARM, GRIPPER} - set(without):
            graph.probe.create_subscription(JointTrajectory, topic, lambda message: None, 10)
        graph.probe.create_timer(period_s, self._tick)

    def _tick(self) -> None:
        message = start_joint_states(self.graph.probe, "ur5e")
        if "finger_joint" not in self._without:
            message.name, message.position = [*message.name, "finger_joint"], [*message.position, self._finger]
        self._joints.publish(message)
        if "block" not in self._without:
            self._publish(self._block, (0.5, 0.0, 0.02))

    def _publish(self, publisher: Any, position: tuple[float, float, float]) -> None:
        publisher.publish(convert.pose_message(self.graph.stamp(), self._frame, position, UPRIGHT))

    def examined(self, *arguments: str) -> tuple[int, str]:
        """Exit code and page."""
        command = [sys.executable, "-m", "reskill_sim.cli.main", "doctor", *arguments, "--duration", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.graph.spin_until(lambda: process.poll() is not None, "the page")
        return process.returncode, process.communicate()[0]


def patient_driver(
    folder: Path, poses: Mapping[str, Any] | None = None, transform_poses: bool = False, **sensing: Any
) -> str:
    """The UR5e's driver file, with a time-out for a busy machine, and optionally sources of poses."""
    document = config_to_dict(load_driver("ur5e"))
    document |= {"poses": dict(poses or {}), "transform_poses": transform_poses}
    document["sensing"] |= {"timeout_s": 20.0, **sensing}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)
