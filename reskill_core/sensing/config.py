"""Configuration of a driver's sensors, and errors of messages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from reskill_core.errors import ReskillError
from reskill_core.frames import RigidTransform, position_parameter, rotation_fault, rotation_parameter
from reskill_core.parameters import parameter


class MessageError(ReskillError):
    """A message is refused.

    Attributes:
        reason: short name of the fault, under which it is counted.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class JointSource:
    """A driver's joint as observed: ``sign * scale * position + offset``, and the range it may be commanded to."""

    name: str = parameter("", "the joint as the driver calls it; empty: as the observation does")
    sign: float = parameter(1.0, "1, or -1 where the driver counts the other way round", low=-1.0, high=1.0)
    offset: float = parameter(
        0.0, "position in the observation where the driver's is zero [m or rad]", low=-1e3, high=1e3
    )
    scale: float = parameter(
        1.0,
        "observed units per unit of the driver, such as the metres that fingers move per radian of their knuckle",
        low=1e-6,
        high=1e6,
    )
    low: float | None = parameter(
        None,
        "lowest position that may be commanded, as the driver counts; empty: that of the model",
        low=-1e3,
        high=1e3,
    )
    high: float | None = parameter(None, "highest one, likewise", low=-1e3, high=1e3)

    def violations(self) -> list[str]:
        """Check sign and range."""
        faults = [] if abs(self.sign) == 1.0 else [f"sign: must be 1 or -1, got {self.sign!r}"]
        if self.low is not None and self.high is not None and self.low >= self.high:
            faults.append(f"low {self.low:g} must be below high {self.high:g}")
        return faults

    def to_observation(self, position: float) -> float:
        """Convert a position of the driver's joint to the observation."""
        return self.sign * self.scale * position + self.offset

    def to_driver(self, position: float) -> float:
        """Convert an observed position to the driver's joint, the inverse of :meth:`to_observation`."""
        return self.sign * (position - self.offset) / self.scale

    def velocity_to_observation(self, velocity: float) -> float:
        """Convert a velocity of the driver's joint to the observation."""
        return self.sign * self.scale * velocity

    def velocity_to_driver(self, velocity: float) -> float:
        """Convert an observed velocity to the driver's joint, the inverse of :meth:`velocity_to_observation`."""
        return self.sign * velocity / self.scale

    def within_limits(self, position: float) -> float:
        """Return the nearest position of the driver's joint that may be commanded."""
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        return min(max(position, low), high)

    @property
    def observed_limits(self) -> tuple[float, float]:
        """Lowest and highest commanded position in the observation; infinite where there is no limit."""
        ends = (-math.inf if self.low is None else self.low, math.inf if self.high is None else self.high)
        low, high = sorted(map(self.to_observation, ends))
        return low, high


@dataclass(frozen=True)
class SensingConfig:
    """Configuration of a driver's sensors."""

    trigger: str = parameter(
        "timer",
        "when to observe: `synchronised`, once all sensors carry the same stamp (simulator), or `timer`, at the "
        "control rate with the newest of each (robot)",
        choices=("synchronised", "timer"),
    )
    gripper: str = parameter(
        "topic",
        "gripper pose as that of any frame, by default from its `topic`, or by `kinematics` of the joints",
        choices=("topic", "kinematics"),
    )
    episodes: bool = parameter(False, "whether the driver publishes `episode`")
    timeout_s: float = parameter(0.12, "age at which a reading is too old [s]", low=0.001, high=3600.0)
    future_tolerance_s: float = parameter(
        0.1, "tolerance for stamps in the future; later ones are refused [s]", low=0.0, high=60.0
    )
    zero_stamp: str = parameter(
        "reject",
        "treatment of a zero stamp: refuse it, or use the time of reception",
        choices=("reject", "receive_time"),
    )
    static_frames: tuple[str, ...] = parameter((), "static frames, whose readings never become too old")
    base_position_w: tuple[float, float, float] = position_parameter(
        "where the origin of the driver's base frame is in the task's world; sensors and commands alike"
    )
    base_quat_wxyz: tuple[float, float, float, float] = rotation_parameter(
        "how the driver's base frame is turned in the task's world"
    )
    joints: dict[str, JointSource] = field(
        default_factory=dict,
        metadata={
            "description": "by joint of the observation or of the kinematic model, the driver's `name` of it, `sign`, "
            "`scale` and `offset`, and the range of commands, `low` to `high`"
        },
    )
    joint_velocities: dict[str, tuple[str, ...]] = field(
        default_factory=dict,
        metadata={
            "description": "by named term of the observation that has velocities of joints, these joints of the "
            "observation; they are read from joint states, and other named terms from readings"
        },
    )

    def violations(self) -> list[str]:
        """Check the rotation."""
        fault = rotation_fault(self.base_quat_wxyz)
        return [f"base_quat_wxyz: {fault}"] if fault else []

    @property
    def base(self) -> RigidTransform:
        """Transform from the driver's base frame to the task's world."""
        return RigidTransform(self.base_position_w, self.base_quat_wxyz)

    def joint(self, name: str) -> JointSource:
        """Return the source of an observed joint."""
        source = self.joints.get(name, JointSource())
        return source if source.name else replace(source, name=name)
