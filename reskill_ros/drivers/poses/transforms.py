"""Transforms between the frames of tf."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from rclpy.time import Time

from reskill_core.errors import ConfigError
from reskill_core.frames import RigidTransform
from reskill_core.sensing import MessageError
from reskill_ros.drivers.driver_topics import TopicConfig
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.inputs import Inputs

# Authority of all transforms; tf2 only mentions it in its warnings.
_AUTHORITY = "tf"
_REASONS = {
    "LookupException": "unknown_frame",
    "ConnectivityException": "disconnected_frames",
    "ExtrapolationException": "extrapolation",
}


class TransformError(MessageError):
    """There is no such transform, or not yet."""


class Transforms(ABC):
    """Transforms between named frames, over time."""

    @abstractmethod
    def newest(self, target: str, source: str) -> tuple[RigidTransform, int]:
        """Return the newest transform from one frame to another.

        Args:
            target: frame of the results.
            source: frame that is transformed.

        Returns:
            The transform and its stamp [ns]: the newest time for which all moving parts of the chain are known; 0 if no
            part moves.

        Raises:
            TransformError: there is none.
        """

    @abstractmethod
    def at(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """Return the transform from one frame to another at a time [ns], interpolated but not extrapolated.

        Raises:
            TransformError: there is none.
        """

    @abstractmethod
    def clear(self) -> None:
        """Forget everything that moves, as after a clock jump."""


class TfTransforms(Transforms):
    """Transforms on the topics of tf."""

    def __init__(self, inputs: Inputs, topics: TopicConfig) -> None:
        """Subscribe.

        Args:
            inputs: subscriptions of the node.
            topics: topics of the driver.

        Raises:
            ConfigError: tf2_ros is not installed.
        """
        # Not everybody who runs this has it: ROS 2 from pip has none.
        try:
            import tf2_ros
            from tf2_msgs.msg import TFMessage
        except ModuleNotFoundError as error:
            raise ConfigError(
                "poses from tf: tf2_ros is not installed: apt install ros-$ROS_DISTRO-tf2-ros-py; or let poses come on "
                "topics, in base_frame"
            ) from error
        self._buffer: Any = tf2_ros.BufferCore()
        self._fault: type[Exception] = tf2_ros.TransformException
        # Not tf2_ros.TransformListener, so that publishers with an incompatible QoS are reported.
        inputs.listen(TFMessage, topics.tf, self._on_moving, qos.TRANSFORMS)
        inputs.listen(TFMessage, topics.tf_static, self._on_static, qos.STATIC_TRANSFORMS)

    def newest(self, target: str, source: str) -> tuple[RigidTransform, int]:
        """See :class:`Transforms`."""
        return self._look_up(target, source, 0)

    def at(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """See :class:`Transforms`."""
        if stamp_ns < 0:
            raise TransformError("extrapolation", f"no transform to {target!r} at the negative time {stamp_ns} ns")
        return self._look_up(target, source, stamp_ns)[0]

    def clear(self) -> None:
        """See :class:`Transforms`."""
        self._buffer.clear()

    def _look_up(self, target: str, source: str, stamp_ns: int) -> tuple[RigidTransform, int]:
        # For tf2, time 0 is the newest one.
        try:
            found = self._buffer.lookup_transform_core(target, source, Time(nanoseconds=stamp_ns))
        except self._fault as error:
            reason = _REASONS.get(type(error).__name__, "no_transform")
            # The text has names that anybody may publish.
            raise TransformError(
                reason, f"no transform to {target!r} from {source[:60]!a}: {str(error)[:300]!a}"
            ) from None
        return RigidTransform(*convert.transform(found.transform)), convert.stamp_to_ns(found.header.stamp)

    def _on_moving(self, message: Any) -> None:
        for transform in message.transforms:
            self._buffer.set_transform(transform, _AUTHORITY)

    def _on_static(self, message: Any) -> None:
        for transform in message.transforms:
            self._buffer.set_transform_static(transform, _AUTHORITY)
