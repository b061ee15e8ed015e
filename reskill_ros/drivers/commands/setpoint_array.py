"""Setpoints as one labelled Float64MultiArray, as for the forward controllers of ros2_control."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builtin_interfaces.msg import Time
from std_msgs.msg import Float64MultiArray

from reskill_core.commanded_place import moved_joints
from reskill_core.errors import SpecError
from reskill_core.frames import Vector
from reskill_core.parameters import parameter
from reskill_core.sensing import JointSource
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_POSITION, VELOCITIES
from reskill_ros.drivers.adapters.base import Adapter
from reskill_ros.plumbing import convert

# Tolerance of the component of a rotated direction outside the space spanned by the actions.
_NO_TURN = 1e-9


@dataclass(frozen=True)
class ArrayOptions:
    """Options of the array."""

    topic: str = parameter("command/positions", "topic of the Float64MultiArray")
    quantity: str = parameter(
        "position",
        "for components that command velocities: the `velocity`, or the `position` after one control period",
        choices=("position", "velocity"),
    )
    stamp: str = parameter(
        "zero",
        "`observation` adds the stamp of the observation to the array's layout, which a simulator in "
        "lockstep needs and controllers ignore",
        choices=("zero", "observation"),
    )
    gripper_low: float = parameter(
        0.0, "position: smallest setpoint of the fingers, as observed [m]", low=-1.0, high=1.0
    )
    gripper_high: float = parameter(
        0.05, "position: largest setpoint of the fingers, as observed [m]", low=-1.0, high=1.0
    )

    def violations(self) -> list[str]:
        """List an empty gripper range."""
        if self.gripper_low < self.gripper_high:
            return []
        return [f"gripper_low {self.gripper_low:g} must be below gripper_high {self.gripper_high:g}"]


class ArrayCommand:
    """Command of some components as one number each, in the order of the action and in the driver's base frame."""

    def __init__(self, adapter: Adapter, options: ArrayOptions, components: Sequence[int]) -> None:
        """Advertise the topic.

        Args:
            adapter: adapter that owns the topic.
            options: options of the array.
            components: commanded components of the action.

        Raises:
            SpecError: fingers commanded by one number differ in sign or offset, or the driver's base frame is rotated
                such that the end effector would move along an axis without a component.
        """
        channel = adapter.channel
        self._adapter, self._options, self._components = adapter, options, tuple(components)
        self._quantities = [channel.task.action.quantities[component] for component in components]
        self._to_base = channel.sensing.base.inverse
        self._axes = {
            END_EFFECTOR_VELOCITY.index(quantity): place
            for place, quantity in enumerate(self._quantities)
            if quantity in END_EFFECTOR_VELOCITY
        }
        self._require_axes()
        by_place = options.quantity == "position"
        self._is_relative = [by_place and quantity in VELOCITIES for quantity in self._quantities]
        self._is_place = [
            relative or quantity == JOINT_POSITION
            for relative, quantity in zip(self._is_relative, self._quantities, strict=True)
        ]
        self._moves_from_places = any(self._is_relative)
        joints = moved_joints(channel.task)
        self._joints = [self._joint(joints[component]) for component in components]
        self._period_s = channel.task.control_period_s
        self._moving = False
        names = [channel.task.action.names[component] for component in components]
        self._message = convert.labelled_array(names)
        self._publisher = adapter.advertise(Float64MultiArray, options.topic)

    @property
    def needs_feedback(self) -> bool:
        """Whether setpoints or the safe command depend on measured positions."""
        return any(self._is_place)

    def send(self, commands: Sequence[float], stamp: Time, feedback: Sequence[float] | None) -> None:
        """Command setpoints; nothing is sent if they are relative to an unknown measured position.

        Args:
            commands: command of each component in its own unit, in the task's world frame.
            stamp: stamp of the observation that the action responds to.
            feedback: measured position of each component [m or rad] in the task's world frame, if known.
        """
        wanted = self._in_base([commands[component] for component in self._components], self._to_base.vector)
        if self._moves_from_places:
            if feedback is None:
                return
            places = self._places(feedback)
            wanted = [
                place + self._period_s * value if relative else value
                for place, value, relative in zip(places, wanted, self._is_relative, strict=True)
            ]
        self._publish(wanted, stamp)
        self._moving = True

    def hold(self, feedback: Sequence[float] | None) -> None:
        """Command standstill: zero velocity and, after motion, the measured positions; zero for raw setpoints.

        Without a position command since the last standstill, no position is sent, because it could move the robot.
        """
        if not self.needs_feedback:
            self._publish([0.0] * len(self._components), self._adapter.now())
        elif feedback is not None and self._moving:
            places = self._places(feedback)
            still = [place if is_place else 0.0 for place, is_place in zip(places, self._is_place, strict=True)]
            self._publish(still, self._adapter.now())
            self._moving = False

    def _publish(self, values: Sequence[float], stamp: Time) -> None:
        low, high = self._options.gripper_low, self._options.gripper_high
        driven = []
        for value, joint, quantity, is_place in zip(
            values, self._joints, self._quantities, self._is_place, strict=True
        ):
            place = min(max(value, low), high) if is_place and quantity == GRIPPER_VELOCITY else value
            driven.append(place if joint is None else _driven(joint, place, is_place))
        self._message.data = array("d", driven)
        if self._options.stamp == "observation":
            convert.set_array_stamp(self._message, stamp)
        self._publisher.publish(self._message)

    def _places(self, feedback: Sequence[float]) -> list[float]:
        return self._in_base([feedback[component] for component in self._components], self._to_base.point)

    def _in_base(self, values: Sequence[float], transformed: Callable[[Sequence[float]], Vector]) -> list[float]:
        """Transform the end-effector components from the task's world frame to the driver's base frame."""
        result = list(values)
        if self._axes:
            vector = [0.0, 0.0, 0.0]
            for axis, place in self._axes.items():
                vector[axis] = values[place]
            turned = transformed(vector)
            for axis, place in self._axes.items():
                result[place] = turned[axis]
        return result

    def _require_axes(self) -> None:
        missing = [axis for axis in range(3) if axis not in self._axes]
        for axis in self._axes:
            turned = self._to_base.vector([float(axis == other) for other in range(3)])
            if any(abs(turned[other]) > _NO_TURN for other in missing):
                raise SpecError(
                    "the driver's base frame is turned so that the task's actions, "
                    f"{', '.join(self._quantities)}, move it along an axis that none of them commands"
                )

    def _joint(self, joints: Sequence[str]) -> JointSource | None:
        """Return sign and offset of the joints commanded by one number; None if the component moves no joints."""
        sources = [self._adapter.channel.sensing.joint(name) for name in joints]
        if len({(source.sign, source.scale, source.offset) for source in sources}) > 1:
            raise SpecError(f"one number cannot command {', '.join(joints)}, whose sign, scale or offset differ")
        return sources[0] if sources else None


def _driven(joint: JointSource, value: float, is_place: bool) -> float:
    return joint.within_limits(joint.to_driver(value)) if is_place else joint.velocity_to_driver(value)
