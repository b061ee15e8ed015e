"""Arrays of detections: messages with several poses, each with an id.

Their packages are imported late, because ROS 2 from pip has none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from geometry_msgs.msg import Pose

from reskill_core.errors import ConfigError
from reskill_core.sensing import MessageError

# One detection: the names by which it may be asked for, and its pose in the array's frame; None if it has none.
Detection = tuple[set[str], Pose | None]


@dataclass(frozen=True)
class ArrayKind:
    """Message type of an array of detections.

    Attributes:
        package: package of the message.
        message: name of the message.
        detections: reads the detections of a message.
    """

    package: str
    message: str
    detections: Callable[[Any], Iterator[Detection]]

    @property
    def message_class(self) -> type[Any]:
        """Class of the messages.

        Raises:
            ConfigError: the package is not installed, or lacks the message.
        """
        name = f"{self.package}/{self.message}"
        try:
            kind: type[Any] = getattr(import_module(f"{self.package}.msg"), self.message)
        except ModuleNotFoundError as error:
            apt = f"ros-$ROS_DISTRO-{self.package.replace('_', '-')}"
            raise ConfigError(f"{name}: {self.package} is not installed: apt install {apt}") from error
        except AttributeError as error:
            raise ConfigError(f"the installed {self.package} have no {self.message}") from error
        return kind

    def find(self, message: Any, name: str) -> Pose | None:
        """Return the pose of the detection with a name, in the frame of the array; None if it was not detected.

        Raises:
            MessageError: ``duplicate_ids`` or ``no_pose``.
        """
        found = [pose for names, pose in self.detections(message) if name in names]
        if len(found) > 1:
            raise MessageError("duplicate_ids", f"{len(found)} detections are {name!r}")
        if found and found[0] is None:
            raise MessageError("no_pose", f"detection {name!r} has no pose")
        return found[0] if found else None


def _objects(message: Any) -> Iterator[Detection]:
    """Detections of vision_msgs/Detection3DArray: known by id and by their most probable class, whose pose is used."""
    for detection in message.detections:
        best = max(detection.results, key=_score, default=None)
        names = {detection.id} if best is None else {detection.id, best.hypothesis.class_id}
        yield names - {""}, None if best is None else best.pose.pose


def _score(result: Any) -> float:
    score = float(result.hypothesis.score)
    # Comparisons with NaN are false, so that the order of results would decide.
    return -math.inf if math.isnan(score) else score


def _markers(message: Any) -> Iterator[Detection]:
    """Detections of aruco_opencv_msgs/ArucoDetection: markers by number, boards by name."""
    for marker in message.markers:
        yield {str(marker.marker_id)}, marker.pose
    for board in message.boards:
        yield {board.board_name}, board.pose


# By kind of pose source.
ARRAYS = {
    "detection3d_array": ArrayKind("vision_msgs", "Detection3DArray", _objects),
    "aruco_detection": ArrayKind("aruco_opencv_msgs", "ArucoDetection", _markers),
}
