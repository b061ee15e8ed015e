"""Poses in messages: a single one, or those of an array of detections by their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile

from reskill_core.frames import IDENTITY, RigidTransform
from reskill_core.sensing import MessageError
from reskill_ros.drivers.poses.config import PoseConfig
from reskill_ros.drivers.poses.detections import ArrayKind
from reskill_ros.drivers.poses.reading import Pose, StampedPose, Take
from reskill_ros.drivers.poses.transforms import TransformError, Transforms
from reskill_ros.plumbing import convert
from reskill_ros.plumbing.inputs import Inputs


class BaseFrame:
    """The driver's base frame, which poses are converted to."""

    def __init__(self, name: str, transforms: Transforms | None = None) -> None:
        """Set up.

        Args:
            name: the frame; empty accepts poses in any frame as they are.
            transforms: transforms from other frames; None refuses poses in these.
        """
        self._name, self._transforms = name, transforms

    def pose(self, pose: Pose, frame: str, stamp_ns: int) -> Pose:
        """Convert a pose in a frame at a time [ns] to the base frame.

        Raises:
            MessageError: ``wrong_frame``.
            TransformError: there is no transform from that frame at that time.
        """
        if not self._name or frame == self._name:
            return pose
        if self._transforms is None:
            raise MessageError(
                "wrong_frame",
                f"pose is in frame {frame[:60]!a}, the driver file says {self._name!r}; transform_poses: true "
                "transforms it",
            )
        return self._transforms.at(self._name, frame, stamp_ns).pose(*pose)


class PoseTopic:
    """Poses of one topic: a single one, or those of an array of detections by their names.

    Attributes:
        name: name of the topic, as in the driver file.
        kind: message class.
        array: how to read an array; None for single poses.
        profiles: QoS profiles of the subscriptions.
        frames: by frame of the observation, its source.
    """

    def __init__(
        self,
        name: str,
        array: ArrayKind | None,
        frames: Mapping[str, PoseConfig],
        base: BaseFrame,
        profiles: Sequence[QoSProfile],
        static_frames: Collection[str] = (),
    ) -> None:
        """Set up, see the attributes.

        Args:
            name: name of the topic.
            array: how to read an array.
            frames: by frame of the observation, its source.
            base: the frame to which poses are converted.
            profiles: QoS profiles.
            static_frames: frames whose poses may be published just once.

        Raises:
            ConfigError: the package of the array is not installed.
        """
        self.name, self.array, self.frames, self.profiles = name, array, frames, tuple(profiles)
        self.kind: type[Any] = PoseStamped if array is None else array.message_class
        self._base, self._static_frames = base, static_frames
        self._waiting: dict[str, Any] = {}
        self._offsets = {frame: config.offset for frame, config in frames.items()}

    def listen(self, inputs: Inputs, take: Take, newest_ns: Callable[[str], int]) -> None:
        """Subscribe.

        Args:
            inputs: subscriptions of the node.
            take: takes the readings.
            newest_ns: returns the newest stamp of a frame [ns], negative if there is none; with several profiles a
                message may arrive more than once.
        """

        def on_message(message: Any) -> None:
            for frame in self.frames:
                take(frame, partial(self._read, frame, message))

        def on_kept(message: Any) -> None:
            # Published before this node started; later messages also arrive through the first subscription.
            for frame in self.frames:
                if convert.stamp_to_ns(message.header.stamp) > newest_ns(frame):
                    take(frame, partial(self._read, frame, message))

        live, *kept = self.profiles
        inputs.listen(self.kind, self.name, on_message, live)
        inputs.listen(self.kind, self.name, on_kept, *kept)

    def poll(self, take: Take) -> None:
        """Offer the poses that wait for their transforms again: those of static frames, which do not come again."""
        for frame, message in list(self._waiting.items()):
            take(frame, partial(self._read, frame, message))

    def _read(self, frame: str, message: Any) -> StampedPose | None:
        found = message.pose if self.array is None else self.array.find(message, self.frames[frame].name)
        if found is None:
            return None
        self._waiting.pop(frame, None)
        pose, stamp_ns, offset = convert.pose(found), convert.stamp_to_ns(message.header.stamp), self._offsets[frame]
        # Without an offset, bit-equal to what was published.
        moved = pose if offset == IDENTITY else RigidTransform(*pose).pose(offset.position, offset.quat_wxyz)
        try:
            return StampedPose(self._base.pose(moved, message.header.frame_id, stamp_ns), stamp_ns)
        except TransformError:
            if frame in self._static_frames:
                self._waiting[frame] = message
            raise
