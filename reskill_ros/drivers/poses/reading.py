"""Readings of poses, and what takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from reskill_core.frames import Vector

# Position [m] and unit quaternion (w, x, y, z).
Pose = tuple[Vector, Vector]


class StampedPose(NamedTuple):
    """Pose of a frame in the driver's base frame.

    Attributes:
        pose: position [m] and unit quaternion (w, x, y, z).
        stamp_ns: time of the measurement, on the ROS clock [ns].
    """

    pose: Pose
    stamp_ns: int


# Takes what a source has for a frame: called with the frame's name, and with a function that returns a new reading, or
# None if there is none, or raises the MessageError for which it is refused.
Take = Callable[[str, Callable[[], StampedPose | None]], None]
