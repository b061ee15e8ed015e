"""observation_node with a driver in front of it, whose messages a test makes up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from ros_graph import TIMEOUT_S, Graph
from sensor_msgs.msg import JointState

from reskill_core.config import config_to_dict
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import Observation
from reskill_ros.nodes.observation_node import ObservationNode
from reskill_ros.plumbing import convert
from reskill_sim.families import get_task

TASK = get_task("block").spec
FINGERS = TASK.obs.joints
UPRIGHT = (1.0, 0.0, 0.0, 0.0)
POSES = {"ee_pose": (1.3, 0.7, 0.5), "objects/block/pose": (1.2, 0.8, 0.425), "goal_pose": (1.4, 0.9, 0.425)}


def write_driver(folder: Path, **sensing: Any) -> str:
    """A driver with sensors like a robot's, and a time-out that a busy machine keeps."""
    document = config_to_dict(load_driver("sim"))
    document["base_frame"] = "world"
    document["reliable_sensors"] = sensing.get("trigger") != "timer"
    document["sensing"] = {"trigger": "synchronised", "gripper": "topic", "timeout_s": 5.0, **sensing}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def write_pose_driver(folder: Path, poses: Mapping[str, Any], transform_poses: bool = False, **sensing: Any) -> str:
    """The same with sources of poses, and by default with a timer, as transforms need it."""
    path = Path(write_driver(folder, **{"trigger": "timer", **sensing}))
    document = yaml.safe_load(path.read_text()) | {"poses": dict(poses), "transform_poses": transform_poses}
    path.write_text(yaml.safe_dump(document))
    return str(path)


class Driver:
    """Publishes what a driver would, and hears the observations of a node that runs elsewhere."""

    def __init__(self, graph: Graph, poses: Sequence[str] = tuple(POSES)) -> None:
        self.graph = graph
        self.observations = graph.listen(Observation, "observation")
        self._diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
        self.joint_publisher = graph.publisher(JointState, "joint_states")
        self.pose_publishers = {topic: graph.publisher(PoseStamped, topic) for topic in poses}

    def joints(
        self, positions: Sequence[float] = (0.01, 0.02), names: Sequence[str] = FINGERS, stamp: Any = None
    ) -> None:
        self.joint_publisher.publish(convert.joint_state_message(stamp or self.graph.stamp(), names, positions))

    def pose(self, topic: str, stamp: Any, frame_id: str = "world", quat: Sequence[float] = UPRIGHT) -> None:
        self.pose_publishers[topic].publish(convert.pose_message(stamp, frame_id, POSES[topic], quat))

    def all(self, positions: Sequence[float] = (0.01, 0.02), names: Sequence[str] = FINGERS) -> Any:
        stamp = self.graph.stamp()
        self.joints(positions, names, stamp)
        self.poses(stamp)
        return stamp

    def poses(self, stamp: Any) -> None:
        for topic in self.pose_publishers:
            self.pose(topic, stamp)

    def wait(self, count: int) -> None:
        self.graph.spin_until(lambda: len(self.observations) >= count, f"{count} observations")

    def observe(self, *args: Any) -> np.ndarray:
        """Publish everything and wait for the observation."""
        count = len(self.observations)
        self.all(*args)
        self.wait(count + 1)
        return convert.observation_values(self.observations[-1])[0]

    def renew(self) -> np.ndarray:
        """Publish everything as often as it takes to be observed."""
        count, end_s = len(self.observations), time.monotonic() + TIMEOUT_S
        while len(self.observations) == count:
            assert time.monotonic() < end_s, "nothing is observed"
            self.all()
            self.graph.spin_for(0.02)
        return convert.observation_values(self.observations[-1])[0]

    def statuses(self) -> list[DiagnosticStatus]:
        """Those that came since the last :meth:`clear_statuses`."""
        return [item for array in self._diagnostics for item in array.status if item.name == "observation_node"]

    def clear_statuses(self) -> None:
        del self._diagnostics[:]

    def last_status(self, level: bytes, *words: str) -> Any:
        """The last status if it has that level and these words, else nothing."""
        status = self.statuses()[-1] if self.statuses() else None
        fits = status and status.level == level and all(word in status.message for word in words)
        return status if fits else None

    def status(self, level: bytes, *words: str) -> DiagnosticStatus:
        """Wait for the next status of that level with these words in its message."""
        self.clear_statuses()
        self.graph.spin_until(lambda: self.last_status(level, *words), f"a status with {words}")
        return self.statuses()[-1]


class Robot(Driver):
    """The driver and the node that observes it."""

    def __init__(self, graph: Graph, poses: Sequence[str] = tuple(POSES)) -> None:
        self.node = graph.add(ObservationNode())
        super().__init__(graph, poses)

    def refused(self, reason: str, count: int = 1) -> None:
        """Wait until something was refused for a reason."""
        counters = self.node.diagnostics.counters
        self.graph.spin_until(lambda: counters[f"refused_{reason}"] >= count, f"a refusal: {reason}")
