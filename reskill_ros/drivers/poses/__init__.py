"""Where the poses of a task's frames come from: pose topics, tf, or arrays of detections."""

from reskill_ros.drivers.poses.config import PoseConfig
from reskill_ros.drivers.poses.pose_topics import PoseTopic
from reskill_ros.drivers.poses.reading import StampedPose
from reskill_ros.drivers.poses.sources import Poses
from reskill_ros.drivers.poses.transforms import TransformError

__all__ = ["PoseConfig", "PoseTopic", "Poses", "StampedPose", "TransformError"]
