"""The topics of a driver: which of them says what an observation is made of."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import parameter
from reskill_core.spec import GOAL_FRAME, GRIPPER_FRAME


@dataclass(frozen=True)
class TopicConfig:
    """The driver's topics that observations are made of; ``{name}`` stands for the object, the term or the image."""

    joint_states: str = parameter("joint_states", "sensor_msgs/JointState")
    ee_pose: str = parameter("ee_pose", "geometry_msgs/PoseStamped of the gripper frame")
    objects: str = parameter("objects/{name}/pose", "geometry_msgs/PoseStamped of each object")
    goal_pose: str = parameter("goal_pose", "geometry_msgs/PoseStamped of the goal")
    readings: str = parameter("readings/{name}", "reskill_ros/Reading of each named term of the observation")
    images: str = parameter("images/{name}", "sensor_msgs/Image of each image of the observation")
    episode: str = parameter("episode", "reskill_ros/EpisodeState, if the driver has episodes")

    def pose(self, frame: str) -> str:
        """The topic that says where a frame is."""
        named = {GRIPPER_FRAME: self.ee_pose, GOAL_FRAME: self.goal_pose}
        return named.get(frame, self.objects.format(name=frame))

    def reading(self, term: str) -> str:
        """The topic of a named term."""
        return self.readings.format(name=term)

    def image(self, name: str) -> str:
        """The topic of an image."""
        return self.images.format(name=name)
