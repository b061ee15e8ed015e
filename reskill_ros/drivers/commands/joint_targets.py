"""Joint positions and velocities that carry out actions: of joints, or of the end effector of an arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.errors import SpecError
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_POSITION, JOINT_VELOCITY
from reskill_ros.drivers.adapters.base import Adapter
from reskill_ros.drivers.joint_feedback import JointFeedback
from reskill_ros.plumbing.robot_description import load_described_arm


@dataclass(frozen=True)
class JointTarget:
    """Where joints are to be after one control period, as the driver counts.

    Attributes:
        positions: position of each joint [m or rad].
        velocities: mean velocity until then [m/s or rad/s].
    """

    positions: list[float]
    velocities: list[float]


class JointTargets:
    """Targets of the arm's joints.

    End-effector velocities are carried out by differential inverse kinematics. Joint velocities are integrated from the
    measured positions at the start of the motion; joint positions are commanded as they are.

    Args:
        adapter: adapter of the joints.
        by_velocity: whether the driver takes velocities.

    Raises:
        SpecError: the actions command neither an end effector nor joints.
        ConfigError: the kinematic model is missing or does not fit.

    Attributes:
        names: names of the joints, as the driver calls them.
        moving: whether there was a target since the last stop.
    """

    def __init__(self, adapter: Adapter, by_velocity: bool = False) -> None:
        moves_end_effector = bool(adapter.channel.task.action.end_effector)
        self._motion: _EndEffectorMotion | _JointMotion = (
            _EndEffectorMotion(adapter, by_velocity) if moves_end_effector else _JointMotion(adapter)
        )
        self._feedback = JointFeedback(adapter, self._motion.joints)
        self._sources = [self._feedback.sources[index] for index in self._motion.commanded]
        self.names = [source.name for source in self._sources]
        self.moving = False

    def missing(self, steady_s: float) -> str:
        """Return what is missing for a target, for messages; empty if nothing."""
        return self._feedback.missing(steady_s)

    def next(self, commands: Sequence[float]) -> JointTarget:
        """Compute the next target from the command of each component, in the task's world; nothing may be missing."""
        positions, velocities = self._motion.step(commands, self._feedback.positions())
        self.moving = True
        return JointTarget(
            [source.within_limits(source.to_driver(p)) for source, p in zip(self._sources, positions, strict=True)],
            [source.velocity_to_driver(v) for source, v in zip(self._sources, velocities, strict=True)],
        )

    def stop(self) -> list[float] | None:
        """End the motion; returns the measured positions, as the driver counts, or None if one is unknown."""
        self._motion.stop()
        self.moving = False
        measured = self._feedback.positions()[self._motion.commanded]
        if not np.isfinite(measured).all():
            return None
        return [source.to_driver(float(p)) for source, p in zip(self._sources, measured, strict=True)]

    def within_limits(self, positions: Sequence[float]) -> list[float]:
        """Limit positions to those that may be commanded."""
        return [source.within_limits(p) for source, p in zip(self._sources, positions, strict=True)]


class _EndEffectorMotion:
    """Joints of an arm whose end effector is commanded."""

    def __init__(self, adapter: Adapter, by_velocity: bool) -> None:
        channel = adapter.channel
        arm = load_described_arm(channel.node, channel.task.name, channel.kinematics)
        limits = [channel.sensing.joint(name).observed_limits for name in arm.joints]
        arm.narrow([low for low, _ in limits], [high for _, high in limits])
        # Imported here, because other adapters need neither mink nor a simulator.
        from reskill_sim.kinematics.differential_ik import DifferentialIk

        self.joints, self.commanded = arm.joints, list(arm.commanded)
        self._ik = DifferentialIk(arm, channel.kinematics, channel.task.control_period_s, not by_velocity)
        self._to_base = channel.sensing.base.inverse
        quantities = channel.task.action.quantities
        self._axes = [
            (axis, quantities.index(quantity))
            for axis, quantity in enumerate(END_EFFECTOR_VELOCITY)
            if quantity in quantities
        ]

    def step(self, commands: Sequence[float], measured: Float64Array) -> tuple[Float64Array, Float64Array]:
        velocity = [0.0, 0.0, 0.0]
        for axis, component in self._axes:
            velocity[axis] = commands[component]
        motion = self._ik.step(self._to_base.vector(velocity), measured)
        return motion.position, motion.velocity

    def stop(self) -> None:
        self._ik.stop()


class _JointMotion:
    """Joints that are commanded themselves."""

    def __init__(self, adapter: Adapter) -> None:
        task, kinematics = adapter.channel.task, adapter.channel.kinematics
        names, quantities = task.action.names, task.action.quantities
        others = {*quantities} - {JOINT_VELOCITY, JOINT_POSITION, GRIPPER_VELOCITY}
        self._components = [
            index for index, quantity in enumerate(quantities) if quantity in (JOINT_VELOCITY, JOINT_POSITION)
        ]
        if others or not self._components:
            raise SpecError(
                f"joints or an end effector can be commanded, the task's actions are {', '.join(quantities)}"
            )
        self.joints = tuple(names[index] for index in self._components)
        self.commanded = list(range(len(self.joints)))
        self._is_velocity = np.array([quantities[index] == JOINT_VELOCITY for index in self._components])
        self._period_s = task.control_period_s
        scale = np.array(task.action.scale)[self._components]
        self._lead = np.where(self._is_velocity, scale * kinematics.max_lead_s, np.inf)
        self._reference: Float64Array | None = None

    def step(self, commands: Sequence[float], measured: Float64Array) -> tuple[Float64Array, Float64Array]:
        wanted = np.array([commands[index] for index in self._components])
        before = measured if self._reference is None else self._reference
        after = np.where(self._is_velocity, before + wanted * self._period_s, wanted)
        after = np.clip(after, measured - self._lead, measured + self._lead)
        self._reference = after
        return after, (after - before) / self._period_s

    def stop(self) -> None:
        self._reference = None
