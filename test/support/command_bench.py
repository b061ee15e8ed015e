"""A command node between somebody who acts and the ears of a driver."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from ros_graph import Graph, text
from trajectory_msgs.msg import JointTrajectory

from reskill_core.config import config_to_dict
from reskill_ros.drivers.driver_file import load_driver
from reskill_ros.msg import SkillAction
from reskill_ros.nodes.command_node import CommandNode
from reskill_ros.plumbing import convert, qos

STILL = [0.0, 0.0, 0.0]


def write_driver(folder: Path, base: str = "sim", command: dict[str, Any] | None = None, **gate: Any) -> str:
    """A driver file like ``base`` with other limits; long time-outs, because the machine may be busy."""
    document = config_to_dict(load_driver(base))
    document["gate"] |= {"command_timeout_s": 5.0, "resume_after": 1, **gate}
    document["command"] |= command or {}
    path = folder / "driver.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


class Bench:
    """A command node with somebody who acts, and ears where its driver is."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.twists = graph.listen(TwistStamped, "command/twist")
        self.fingers = graph.listen(JointTrajectory, "gripper/command")
        self.executed = graph.listen(SkillAction, "executed_action")
        self.statuses = graph.listen(DiagnosticStatus, "command/status", qos.LATCHED)
        self.node = graph.add(CommandNode())
        self.publisher = graph.publisher(SkillAction, "skill_action")
        graph.spin_until(lambda: not self.node.gate.absent_driver, "the driver's ears")

    def act(self, *action: float, stamp: Any = None) -> None:
        message = SkillAction(source="test", action=array("f", action))
        message.header.stamp = stamp or self.graph.stamp()
        self.publisher.publish(message)

    def move(self, *action: float) -> list[float]:
        """Act and wait for the arm's command."""
        count = len(self.twists)
        self.act(*action)
        self.graph.spin_until(lambda: len(self.twists) > count, "a command to the arm")
        return list(convert.twist_velocity(self.twists[-1]))

    def wait_for(self, state: str) -> DiagnosticStatus:
        self.graph.spin_until(lambda: self.statuses and text(self.statuses[-1], "state") == state, state)
        return self.statuses[-1]

    def wait_count(self, name: str, count: int) -> None:
        self.graph.spin_until(lambda: self.count(name) == count, f"{count} {name}")

    def count(self, name: str) -> int:
        return self.node.gate.counters[name]
