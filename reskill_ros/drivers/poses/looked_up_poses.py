"""Poses that are looked up: transforms from the base frame."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

from reskill_core.frames import RigidTransform
from reskill_core.sensing import MessageError
from reskill_ros.drivers.poses.config import PoseConfig
from reskill_ros.drivers.poses.reading import StampedPose, Take
from reskill_ros.drivers.poses.transforms import Transforms


class LookedUpPoses:
    """Poses that are the newest transforms from the base frame to other frames."""

    def __init__(
        self,
        transforms: Transforms,
        base_frame: str,
        frames: Mapping[str, PoseConfig],
        static_frames: Collection[str],
        now_ns: Callable[[], int],
    ) -> None:
        """Set up.

        Args:
            transforms: the transforms.
            base_frame: the driver's base frame.
            frames: by frame of the observation, its source.
            static_frames: frames whose transforms may be static, which have no stamp.
            now_ns: returns the time on the ROS clock [ns].
        """
        self._transforms, self._base_frame, self.frames = transforms, base_frame, frames
        self._static_frames, self._now_ns = static_frames, now_ns
        self._offsets = {frame: config.offset for frame, config in frames.items()}
        self._last: dict[str, tuple[RigidTransform, int]] = {}

    def poll(self, take: Take) -> None:
        """Offer what has changed since the last call, so that what is no longer published becomes old."""
        for frame in self.frames:
            take(frame, partial(self._read, frame))

    def forget(self) -> None:
        """Forget what has been offered, as after a clock jump."""
        self._last.clear()

    def _read(self, frame: str) -> StampedPose | None:
        config = self.frames[frame]
        found = transform, stamp_ns = self._transforms.newest(self._base_frame, config.name)
        if stamp_ns == 0 and frame not in self._static_frames:
            raise MessageError(
                "static_transform",
                f"the transform to {self._base_frame!r} from {config.name!r} is static, or has no stamp; list "
                f"{frame} in sensing.static_frames if it never moves",
            )
        if self._last.get(frame) == found:
            return None
        self._last[frame] = found
        offset = self._offsets[frame]
        return StampedPose(transform.pose(offset.position, offset.quat_wxyz), stamp_ns or self._now_ns())
