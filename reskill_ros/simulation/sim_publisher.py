"""Publisher of the sensor topics of a simulated robot, all with one stamp."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from reskill_ros.drivers.driver_topics import TopicConfig
from reskill_ros.msg import EpisodeState, Reading
from reskill_ros.plumbing import convert, images, qos
from reskill_ros.plumbing.robot_description import TOPIC as ROBOT_DESCRIPTION
from reskill_ros.simulation.simulated_robot import SimulatedRobot

# Default names of a driver's topics.
_TOPICS = TopicConfig()


class SimPublisher:
    """Sensor topics of one simulated robot."""

    def __init__(self, node: Node, frame_id: str) -> None:
        """Create the publishers; ``frame_id`` names the frame of the poses."""
        self._node = node
        self._frame_id = frame_id
        self._clock = node.create_publisher(Clock, "/clock", qos.CLOCK)
        self._joint_states = node.create_publisher(JointState, "joint_states", qos.STATE)
        self._episode = node.create_publisher(EpisodeState, "episode", qos.RECORDED)
        self._description = node.create_publisher(String, ROBOT_DESCRIPTION, qos.LATCHED)
        self._described_task = ""
        # Task-dependent publishers.
        self._by_topic: dict[str, Publisher[Any]] = {}

    def publish(self, robot: SimulatedRobot) -> None:
        """Publish the robot's current state; the clock first, so that no stamp is in the future.

        A new task's robot is described first.
        """
        if robot.task != self._described_task:
            self._described_task = robot.task
            self._description.publish(String(data=robot.description(self._frame_id)))
        stamp = convert.ns_to_stamp(robot.stamp_ns)
        self._clock.publish(Clock(clock=stamp))
        self._joint_states.publish(convert.joint_state_message(stamp, *robot.joints))
        for name, (position, quat_wxyz) in robot.poses.items():
            pose = convert.pose_message(stamp, self._frame_id, position.tolist(), quat_wxyz.tolist())
            self._publish_to(PoseStamped, _TOPICS.pose(name), pose)
        for name, values in robot.readings.items():
            self._publish_to(Reading, _TOPICS.reading(name), convert.reading_message(stamp, self._frame_id, values))
        for name, picture in robot.images.items():
            self._publish_to(Image, _TOPICS.image(name), images.image_message(stamp, name, picture))
        self._episode.publish(self._episode_state(robot, stamp))

    def _publish_to(self, kind: type[Any], topic: str, message: Any) -> None:
        if topic not in self._by_topic:
            self._by_topic[topic] = self._node.create_publisher(kind, topic, qos.STATE)
        self._by_topic[topic].publish(message)

    def _episode_state(self, robot: SimulatedRobot, stamp: Time) -> EpisodeState:
        message = EpisodeState(
            task=robot.task,
            profile=robot.profile,
            episode_id=robot.episode_id,
            seed=robot.seed,
            step=robot.step,
            reward=robot.reward,
            success=robot.success,
            terminated=robot.terminated,
            truncated=robot.truncated,
            valid=robot.valid,
            sim_state=convert.float64_array(robot.state),
        )
        message.header.stamp = stamp
        message.header.frame_id = self._frame_id
        return message
