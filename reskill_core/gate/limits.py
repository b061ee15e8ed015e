"""Limits of actions, by the quantity of each component."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reskill_core.gate.config import GateConfig
from reskill_core.spec import GRIPPER_VELOCITY, JOINT_POSITION, RAW, VELOCITIES, ActionSpec


@dataclass(frozen=True)
class Limited:
    """Action within the limits, and the limits that have changed it.

    Attributes:
        action: the action.
        clamped: whether a component was beyond its own limits.
        step: whether a component changed too much.
        workspace: whether it would have left the box.
    """

    action: list[float]
    clamped: bool
    step: bool
    workspace: bool


class ActionLimits:
    """Limits of actions by the quantity of each component.

    Velocities of the end effector and of joints are scaled by ``speed_scale``, and start from standstill. Those of
    fingers start from standstill, too. Joint positions start from the measured ones; their speed is the change per
    command, at most ``max_step`` scaled by ``speed_scale``. Raw components are only clamped to their own limits. The
    box limits the end effector.
    """

    def __init__(self, actions: ActionSpec, control_period_s: float, config: GateConfig) -> None:
        """Set up.

        Args:
            actions: layout of the actions.
            control_period_s: time for which an action is held [s].
            config: the limits, which must fit the layout.
        """
        quantities = actions.quantities
        self._low = [component.low for component in actions.components]
        self._high = [component.high for component in actions.components]
        self._scale = actions.scale
        self._reach = [scale * control_period_s for scale in actions.scale]
        self._axes = actions.end_effector
        self._positions = actions.indices(JOINT_POSITION)
        self._box = list(zip(self._axes, config.workspace_low, config.workspace_high, strict=False))
        speed = config.speed_scale
        slowed = [quantity in VELOCITIES and quantity != GRIPPER_VELOCITY for quantity in quantities]
        self._speed = [speed if slow else 1.0 for slow in slowed] if speed != 1.0 else []
        steps = config.max_step if len(config.max_step) == actions.dim else config.max_step * actions.dim
        self._max_step = [
            math.inf if quantity == RAW else step * speed if quantity == JOINT_POSITION else step
            for step, quantity in zip(steps, quantities, strict=True)
        ]

    @property
    def need_place(self) -> bool:
        """Whether :meth:`limit` needs measured positions."""
        return bool(self._box or self._positions)

    def start(self, place: Sequence[float] | None) -> list[float]:
        """Return the action that motion starts from: standstill, or the measured position of a joint."""
        values = [0.0] * len(self._scale)
        if place is not None:
            for index in self._positions:
                values[index] = place[index] / self._scale[index]
        return values

    def limit(self, action: Sequence[float], previous: Sequence[float], place: Sequence[float] | None) -> Limited:
        """Limit an action. Components within the limits pass bit-equal.

        Args:
            action: the action, finite.
            previous: the action executed before it, or that of :meth:`start`.
            place: measured position for each component [m or rad]; None if not needed.
        """
        wanted = [min(max(x, low), high) for x, low, high in zip(action, self._low, self._high, strict=True)]
        clamped = any(a != b for a, b in zip(action, wanted, strict=True))
        if self._speed:
            wanted = [value * speed for value, speed in zip(wanted, self._speed, strict=True)]
        steady = [
            value if abs(value - last) <= step else last + math.copysign(step, value - last)
            for value, last, step in zip(wanted, previous, self._max_step, strict=True)
        ]
        boxed = self._in_box(steady, place) if place is not None else steady
        return Limited(boxed, clamped, steady != wanted, boxed != steady)

    def _in_box(self, wanted: list[float], place: Sequence[float]) -> list[float]:
        limited = list(wanted)
        for axis, low, high in self._box:
            here, reach = place[axis], self._reach[axis]
            # Outside the box only motion back towards it remains.
            upper = max((high - here) / reach, 0.0)
            lower = min((low - here) / reach, 0.0)
            limited[axis] = min(max(wanted[axis], lower), upper)
        return limited
