"""Conversion between messages and core types.

Quaternions are scalar first (w, x, y, z) in the core and scalar last in messages. Stamps are integer nanoseconds
in the core. Positions are in metres in the frame of the message's header.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Transform, TwistStamped, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from reskill_core.arrays import Float64Array
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_core.sensing import EpisodeStep, MessageError, Tick
from reskill_core.spec import TaskSpec
from reskill_ros.msg import EpisodeState, Observation, Reading, SkillAction

_NS = 1_000_000_000
# Tolerance of a quaternion's norm: drivers publish float32 and rounded values.
_QUATERNION_TOLERANCE = 1e-3
# Prefix of a stamp in nanoseconds among the labels of an array's entries.
_STAMP_LABEL = "stamp_ns="
_STAMP_DIGITS = 19


def stamp_to_ns(stamp: Time) -> int:
    """Convert a stamp to nanoseconds."""
    return stamp.sec * _NS + stamp.nanosec


def ns_to_stamp(time_ns: int) -> Time:
    """Convert nanoseconds to a stamp."""
    sec, nanosec = divmod(time_ns, _NS)
    return Time(sec=sec, nanosec=nanosec)


def joint_state_message(
    stamp: Time, names: Sequence[str], positions: Iterable[float], velocities: Iterable[float] = ()
) -> JointState:
    """Create a message of joint positions [m or rad] and optionally velocities."""
    message = JointState(name=list(names), position=array("d", positions), velocity=array("d", velocities))
    message.header.stamp = stamp
    return message


def joint_positions(message: JointState) -> dict[str, float]:
    """Read joint positions by name [m or rad].

    Raises:
        MessageError: ``length_mismatch``, ``duplicate_names`` or ``non_finite``; the whole message is refused.
    """
    if len(message.name) != len(message.position):
        raise MessageError(
            "length_mismatch", f"joint state has {len(message.name)} names, {len(message.position)} positions"
        )
    positions = dict(zip(message.name, message.position, strict=True))
    if len(positions) != len(message.name):
        twice = (name for name, count in Counter(message.name).items() if count > 1)
        raise MessageError("duplicate_names", f"joint state names more than once: {_listed(twice)}")
    if not all(map(math.isfinite, message.position)):
        wrong = (name for name, value in positions.items() if not math.isfinite(value))
        raise MessageError("non_finite", f"joint state has no finite position of {_listed(wrong)}")
    return positions


def joint_velocities(message: JointState) -> dict[str, float]:
    """Read joint velocities by name [m/s or rad/s]; empty if the message has none.

    Raises:
        MessageError: ``length_mismatch`` or ``non_finite``; no velocity of the message is used.
    """
    if message.velocity and len(message.name) != len(message.velocity):
        raise MessageError(
            "length_mismatch", f"joint state has {len(message.name)} names, {len(message.velocity)} velocities"
        )
    velocities = dict(zip(message.name, message.velocity, strict=False))
    if not all(map(math.isfinite, message.velocity)):
        wrong = (name for name, value in velocities.items() if not math.isfinite(value))
        raise MessageError("non_finite", f"joint state has no finite velocity of {_listed(wrong)}")
    return velocities


def _listed(names: Iterable[str]) -> str:
    """The first few names of a message, escaped for a terminal, since they are untrusted."""
    first = list(islice(names, 4))
    return ", ".join(ascii(name[:60]) for name in first[:3]) + (" and more" if len(first) > 3 else "")


def publisher_id(info: Mapping[str, Any]) -> bytes | None:
    """Return the publisher's ``endpoint_gid`` from the info of a message.

    None if rclpy does not provide it, as in Humble and Jazzy.
    """
    gid = info.get("publisher_gid")
    return bytes(gid["data"]) if gid else None


def pose_message(stamp: Time, frame_id: str, position: Sequence[float], quat_wxyz: Sequence[float]) -> PoseStamped:
    """Create a message of a pose [m, unit quaternion] in ``frame_id``."""
    message = PoseStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    point, turn = message.pose.position, message.pose.orientation
    point.x, point.y, point.z = map(float, position)
    turn.w, turn.x, turn.y, turn.z = map(float, quat_wxyz)
    return message


def pose(message: Pose) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Read position [m] and unit quaternion (w, x, y, z).

    Raises:
        MessageError: ``non_finite`` or ``bad_quaternion``.
    """
    return _position_and_quat(message.position, message.orientation)


def transform(message: Transform) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Read a transform like a pose, see :func:`pose`."""
    return _position_and_quat(message.translation, message.rotation)


def _position_and_quat(
    point: Point | Vector3, turn: Quaternion
) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    position, quat_wxyz = (point.x, point.y, point.z), (turn.w, turn.x, turn.y, turn.z)
    if not all(map(math.isfinite, position + quat_wxyz)):
        raise MessageError("non_finite", f"pose is not finite: position {position}, orientation {quat_wxyz}")
    if abs(math.hypot(*quat_wxyz) - 1.0) > _QUATERNION_TOLERANCE:
        raise MessageError("bad_quaternion", f"orientation (w, x, y, z) {quat_wxyz} is not a unit quaternion")
    return position, quat_wxyz


def reading_message(stamp: Time, frame_id: str, values: Float64Array) -> Reading:
    """Create a message of the values of a named term."""
    message = Reading(values=float64_array(values))
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message


def reading_values(message: Reading) -> Float64Array:
    """Read the values of a named term.

    Raises:
        MessageError: ``non_finite``.
    """
    values = np.array(message.values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise MessageError("non_finite", f"reading has values {values.tolist()[:8]}")
    return values


def float64_array(values: NDArray[np.float64]) -> array[float]:
    """Convert values to a message field float64[]."""
    return array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


def float32_array(values: NDArray[np.float32]) -> array[float]:
    """Convert values to a message field float32[]."""
    return array("f", np.ascontiguousarray(values, dtype=np.float32).tobytes())


def episode_step(message: EpisodeState) -> EpisodeStep:
    """Read episode and step of a message."""
    return EpisodeStep(message.episode_id, message.seed, message.step)


def observation_message(tick: Tick, task: str, frame_id: str) -> Observation:
    """Create a message of an observation."""
    # Setting fields is several times faster than naming them in the constructor.
    message = Observation()
    message.task = task
    message.episode_id = tick.episode.episode_id
    message.episode_seed = tick.episode.seed
    message.episode_step = tick.episode.step
    message.values = float64_array(tick.values[0])
    header = message.header
    header.stamp.sec, header.stamp.nanosec = divmod(tick.stamp_ns, _NS)
    header.frame_id = frame_id
    return message


def observation_values(message: Observation) -> NDArray[np.float64]:
    """Read an observation as a batch of one, (1, O) float64."""
    return np.frombuffer(message.values, dtype=np.float64)[None]


def observation_fault(message: Observation, task: TaskSpec) -> str:
    """Return why a message is not a valid observation of a task, as the name of a counter; empty if it is."""
    if message.task != task.name:
        return "other_task"
    if len(message.values) != task.obs.dim:
        return "wrong_size"
    return "" if all(map(math.isfinite, message.values)) else "non_finite"


def skill_action_message(
    action: CoreSkillAction, source: str, noise_scale: float, into: SkillAction | None = None
) -> SkillAction:
    """Create a message of the first row of a batch of skill actions, without header and episode.

    Args:
        action: the action.
        source: name of the policy or demonstrator.
        noise_scale: noise scale of the episode.
        into: a message to overwrite, which is faster than creating a new one.
    """
    message = SkillAction() if into is None else into
    message.source = source
    message.action = float32_array(action.action[0])
    message.decoded_action = float32_array(action.decoded_action[0])
    message.residual = float32_array(action.residual[0])
    message.residual_weight = float(action.residual_weight[0])
    message.latent = float32_array(action.latent[0])
    message.skill_step = int(action.skill_step[0])
    message.noise_scale = noise_scale
    return message


def skill_action(message: SkillAction) -> CoreSkillAction:
    """Read a skill action as a batch of one."""
    return CoreSkillAction(
        action=np.array(message.action, dtype=np.float32)[None],
        decoded_action=np.array(message.decoded_action, dtype=np.float32)[None],
        residual=np.array(message.residual, dtype=np.float32)[None],
        residual_weight=np.array([message.residual_weight], dtype=np.float32),
        latent=np.array(message.latent, dtype=np.float32)[None],
        skill_step=np.array([message.skill_step]),
    )


def set_twist(message: TwistStamped, velocity: Sequence[float]) -> None:
    """Set the linear velocity [m/s] of a message."""
    linear = message.twist.linear
    linear.x, linear.y, linear.z = velocity


def twist_velocity(message: TwistStamped) -> tuple[float, float, float]:
    """Read the linear velocity [m/s] of a command, in the frame of its header.

    Raises:
        MessageError: ``non_finite``.
    """
    linear = message.twist.linear
    velocity = (linear.x, linear.y, linear.z)
    if not all(map(math.isfinite, velocity)):
        raise MessageError("non_finite", f"commanded velocity {velocity} is not finite")
    return velocity


def trajectory_message(joints: Sequence[str], period_s: float) -> JointTrajectory:
    """Create a trajectory of one point to be reached after ``period_s``, without positions or velocities."""
    return JointTrajectory(joint_names=list(joints), points=[JointTrajectoryPoint(time_from_start=duration(period_s))])


def duration(time_s: float) -> Duration:
    """Convert a time to a message [s]."""
    sec, nanosec = divmod(round(time_s * _NS), _NS)
    return Duration(sec=sec, nanosec=nanosec)


def trajectory_point(message: JointTrajectory) -> tuple[dict[str, float], dict[str, float]]:
    """Read positions and velocities by joint name of a trajectory's last point; either may be empty.

    Raises:
        MessageError: ``length_mismatch`` or ``non_finite``.
    """
    if not message.points:
        raise MessageError("length_mismatch", "joint trajectory has no point")
    names, point = message.joint_names, message.points[-1]
    for field, values in (("positions", point.positions), ("velocities", point.velocities)):
        if len(values) not in (0, len(names)):
            raise MessageError(
                "length_mismatch", f"joint trajectory names {len(names)} joints, has {len(values)} {field}"
            )
        if not all(map(math.isfinite, values)):
            raise MessageError("non_finite", f"joint trajectory has {field} {list(values)}")
    # Either list may be empty, which gives an empty dictionary.
    return (
        dict(zip(names, point.positions, strict=False)),
        dict(zip(names, point.velocities, strict=False)),
    )


def labelled_array(labels: Sequence[str]) -> Float64MultiArray:
    """Create an array of zeros whose layout labels each entry, for viewers."""
    message = Float64MultiArray(data=array("d", [0.0] * len(labels)))
    message.layout.dim = [MultiArrayDimension(label=label, size=1, stride=len(labels)) for label in labels]
    return message


def set_array_stamp(message: Float64MultiArray, stamp: Time) -> None:
    """Set a stamp as an additional label in an array's layout, since arrays have no header."""
    labels = [item for item in message.layout.dim if not item.label.startswith(_STAMP_LABEL)]
    message.layout.dim = [*labels, MultiArrayDimension(label=f"{_STAMP_LABEL}{stamp_to_ns(stamp)}")]


def array_stamp_ns(message: Float64MultiArray) -> int:
    """Read the stamp in the layout of an array [ns]; 0 if there is none.

    Raises:
        MessageError: ``bad_stamp``.
    """
    for item in message.layout.dim:
        if item.label.startswith(_STAMP_LABEL):
            number = item.label.removeprefix(_STAMP_LABEL)
            if not (number.isascii() and number.isdigit() and len(number) <= _STAMP_DIGITS):
                raise MessageError("bad_stamp", f"array has the stamp {number[:60]!a}")
            return int(number)
    return 0


def array_values(message: Float64MultiArray, names: Sequence[str]) -> dict[str, float]:
    """Read the values of an array by name: by the labels of its layout, or else in the order of ``names``.

    Raises:
        MessageError: ``length_mismatch``, ``unknown_component`` or ``non_finite``.
    """
    labels = [item.label for item in message.layout.dim if not item.label.startswith(_STAMP_LABEL)]
    # Other publishers describe the array's shape there, with one label or none.
    labelled = bool(labels) and all(labels) and len(labels) == len(message.data)
    if not labelled and len(message.data) != len(names):
        raise MessageError("length_mismatch", f"array has {len(message.data)} values, expected {len(names)}")
    if labelled and not set(labels) <= set(names):
        unknown = (label for label in labels if label not in names)
        raise MessageError("unknown_component", f"array commands {_listed(unknown)}, known are {', '.join(names)}")
    if not all(map(math.isfinite, message.data)):
        raise MessageError("non_finite", f"array has values {list(message.data)}")
    return dict(zip(labels if labelled else names, message.data, strict=True))


def serialised_stamp_ns(data: bytes) -> int:
    """The stamp [ns] of a serialised message whose first field is a header."""
    # Four bytes say how the rest is encoded; the second of them whether the lowest byte comes first.
    sec, nanosec = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return int(sec * _NS + nanosec)
