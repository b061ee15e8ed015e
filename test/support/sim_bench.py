"""A simulator node, and somebody who commands it."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from ros_graph import Graph
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from reskill_ros.msg import EpisodeState
from reskill_ros.nodes.sim_node import SimNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.srv import ResetEpisode
from reskill_sim.fetch.constants import FINGER_JOINTS
from reskill_sim.fetch.tasks import get_task

PERIOD_NS = 40_000_000


class Bench:
    """A simulator node, somebody who commands it, and ears on all it says."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.clocks = graph.listen(Clock, "/clock", qos.CLOCK)
        self.states = graph.listen(EpisodeState, "episode")
        self.statuses = graph.listen(DiagnosticStatus, "sim/status", qos.LATCHED)
        self.node = graph.add(SimNode())
        self.twist = graph.publisher(TwistStamped, "command/twist", qos.COMMAND)
        self.fingers = graph.publisher(JointTrajectory, "gripper/command", qos.COMMAND)
        self.graph.spin_until(lambda: self.states, "the first state")

    @property
    def state(self) -> EpisodeState:
        return self.states[-1]

    def command(self, action: Any, stamp: Any = None, parts: str = "arm fingers") -> None:
        """Command an action as command_node does, by default in answer to the newest state."""
        stamp = stamp or self.state.header.stamp
        velocity = get_task(self.state.task).spec.action.to_command(np.asarray(action, np.float32)).tolist()
        if "arm" in parts:
            twist = TwistStamped()
            twist.header.stamp = stamp
            convert.set_twist(twist, velocity[:3])
            self.twist.publish(twist)
        if "fingers" in parts:
            trajectory = convert.trajectory_message(FINGER_JOINTS, 0.04)
            trajectory.header.stamp = stamp
            trajectory.points[0].velocities = array("d", [velocity[3]] * 2)
            self.fingers.publish(trajectory)

    def act(self, action: Any) -> EpisodeState:
        """Answer the newest state and wait for the next one."""
        before = self.node.robot.stamp_ns
        assert convert.stamp_to_ns(self.state.header.stamp) == before
        self.command(action)
        self.wait_for_stamp(before + PERIOD_NS)
        return self.state

    def wait_for_stamp(self, stamp_ns: int) -> None:
        self.graph.spin_until(lambda: convert.stamp_to_ns(self.state.header.stamp) >= stamp_ns, "the next state")

    def wait_for_status(self, word: str) -> DiagnosticStatus:
        self.graph.spin_until(lambda: self.statuses and word in self.statuses[-1].message, f"status {word!r}")
        return self.statuses[-1]

    def reset(self, **fields: Any) -> ResetEpisode.Response:
        response = self.graph.call(ResetEpisode, "sim_node/reset", **fields)
        if response.success:
            self.graph.spin_until(lambda: self.episode(response.episode_id), "the new episode's state")
        return response

    def episode(self, episode_id: int) -> list[EpisodeState]:
        """The states of an episode so far."""
        return [state for state in self.states if state.episode_id == episode_id]

    def pause(self, paused: bool = True) -> None:
        assert self.graph.call(SetBool, "sim_node/pause", data=paused).success

    def stamps(self) -> list[int]:
        return [convert.stamp_to_ns(state.header.stamp) for state in self.states]
