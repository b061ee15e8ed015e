"""Publishes what a simulated robot's drivers would publish, all with one stamp."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from reskill_core.spec import GOAL_FRAME, GRIPPER_FRAME
from reskill_ros.msg import EpisodeState
from reskill_ros.plumbing import convert, qos
from reskill_ros.simulation.sim_session import SimSession


class SimPublisher:
    """The topics of one simulated robot."""

    def __init__(self, node: Node, frame_id: str) -> None:
        """Create the publishers; ``frame_id`` names the frame of the poses."""
        self._node = node
        self._frame_id = frame_id
        self._clock = node.create_publisher(Clock, "/clock", qos.CLOCK)
        self._joint_states = node.create_publisher(JointState, "joint_states", qos.STATE)
        self._episode = node.create_publisher(EpisodeState, "episode", qos.RECORDED)
        self._poses: dict[str, Publisher] = {}

    def publish(self, session: SimSession) -> None:
        """Publish the session's current state; the clock first, so that nobody sees a stamp from the future."""
        stamp = convert.ns_to_stamp(session.stamp_ns)
        self._clock.publish(Clock(clock=stamp))
        self._joint_states.publish(convert.joint_state_message(stamp, *session.joints))
        for name, (position, quat_wxyz) in session.poses.items():
            pose = convert.pose_message(stamp, self._frame_id, position.tolist(), quat_wxyz.tolist())
            self._pose_publisher(name).publish(pose)
        self._episode.publish(self._episode_state(session, stamp))

    def _pose_publisher(self, frame: str) -> Publisher:
        if frame not in self._poses:
            topic = {GRIPPER_FRAME: "ee_pose", GOAL_FRAME: "goal_pose"}.get(frame, f"objects/{frame}/pose")
            self._poses[frame] = self._node.create_publisher(PoseStamped, topic, qos.STATE)
        return self._poses[frame]

    def _episode_state(self, session: SimSession, stamp: Time) -> EpisodeState:
        message = EpisodeState(
            task=session.task,
            profile=session.profile,
            episode_id=session.episode_id,
            seed=session.seed,
            step=session.step,
            reward=session.reward,
            success=session.success,
            terminated=session.terminated,
            truncated=session.truncated,
            valid=session.valid,
            sim_state=convert.float64_array(session.state),
        )
        message.header.stamp = stamp
        message.header.frame_id = self._frame_id
        return message
