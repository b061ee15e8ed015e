"""Configuration of a driver's sensors, and errors of messages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from reskill_core.errors import ReskillError
from reskill_core.frames import RigidTransform, rotation_fault
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
    """Source of an observed joint position: ``sign * position + offset`` of a driver's joint."""

    name: str = parameter("", "the joint as the driver calls it; empty: as the observation does")
    sign: float = parameter(1.0, "1, or -1 where the driver counts the other way round", low=-1.0, high=1.0)
    offset: float = parameter(
        0.0, "position in the observation where the driver's is zero [m or rad]", low=-1e3, high=1e3
    )

    def violations(self) -> list[str]:
        """Check the sign."""
        return [] if abs(self.sign) == 1.0 else [f"sign: must be 1 or -1, got {self.sign!r}"]

    def to_observation(self, position: float) -> float:
        """Convert a position of the driver's joint to the observation."""
        return self.sign * position + self.offset

    def to_driver(self, position: float) -> float:
        """Convert an observed position to the driver's joint, the inverse of :meth:`to_observation`."""
        return self.sign * (position - self.offset)


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
        "topic", "gripper pose from its `topic` or by `kinematics` of the joints", choices=("topic", "kinematics")
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
    base_position_w: tuple[float, float, float] = parameter(
        (0.0, 0.0, 0.0),
        "where the origin of the driver's base frame is in the task's world; sensors and commands alike [m]",
        low=-1e3,
        high=1e3,
    )
    base_quat_wxyz: tuple[float, float, float, float] = parameter(
        (1.0, 0.0, 0.0, 0.0),
        "how the driver's base frame is turned in the task's world; a unit quaternion w, x, y, z",
        low=-1.0,
        high=1.0,
    )
    joints: dict[str, JointSource] = field(
        default_factory=dict,
        metadata={"description": "by joint of the observation, the driver's `name` of it, `sign` and `offset`"},
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
