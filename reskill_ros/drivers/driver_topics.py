"""Sensor topics of a driver."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import parameter
from reskill_core.spec import GOAL_FRAME, GRIPPER_FRAME


@dataclass(frozen=True)
class TopicConfig:
    """Sensor topics of the driver; ``{name}`` is replaced by the name of the object, term or image."""

    joint_states: str = parameter("joint_states", "sensor_msgs/JointState")
    ee_pose: str = parameter("ee_pose", "geometry_msgs/PoseStamped of the gripper frame")
    objects: str = parameter("objects/{name}/pose", "geometry_msgs/PoseStamped of each object")
    goal_pose: str = parameter("goal_pose", "geometry_msgs/PoseStamped of the goal")
    tf: str = parameter("/tf", "tf2_msgs/TFMessage of moving frames, for poses from tf")
    tf_static: str = parameter("/tf_static", "tf2_msgs/TFMessage of static ones")
    readings: str = parameter("readings/{name}", "reskill_ros/Reading of each named term of the observation")
    images: str = parameter("images/{name}", "sensor_msgs/Image of each image of the observation")
    episode: str = parameter("episode", "reskill_ros/EpisodeState, if the driver has episodes")

    def pose(self, frame: str) -> str:
        """Return the topic of a frame's pose."""
        named = {GRIPPER_FRAME: self.ee_pose, GOAL_FRAME: self.goal_pose}
        return named.get(frame, self.objects.format(name=frame))

    def reading(self, term: str) -> str:
        """Return the topic of a named term."""
        return self.readings.format(name=term)

    def image(self, name: str) -> str:
        """Return the topic of an image."""
        return self.images.format(name=name)
