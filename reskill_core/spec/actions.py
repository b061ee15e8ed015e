"""Specifications of actions: components with commanded quantity, unit, scale and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.spec.documents import parsed, with_keys

# Commanded quantities; those of the end effector are along one axis of the world.
END_EFFECTOR_VELOCITY = ("end_effector_velocity_x", "end_effector_velocity_y", "end_effector_velocity_z")
GRIPPER_VELOCITY = "gripper_velocity"
JOINT_VELOCITY = "joint_velocity"
JOINT_POSITION = "joint_position"
RAW = "raw"
QUANTITIES = (*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_VELOCITY, JOINT_POSITION, RAW)
# Velocities, which are held over the control period and can be scaled down.
VELOCITIES = (*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_VELOCITY)

_UNITS = {
    **dict.fromkeys(END_EFFECTOR_VELOCITY, ("m/s",)),
    GRIPPER_VELOCITY: ("m/s", "rad/s"),
    JOINT_VELOCITY: ("rad/s", "m/s"),
    JOINT_POSITION: ("rad", "m"),
}
# Keys of older documents, whose actions are only velocities.
_NAMES, _VELOCITY_SCALE, _QUANTITIES = "names", "velocity_scale", "quantities"


@dataclass(frozen=True)
class ActionComponent:
    """Component of an action in [-1, 1]; multiplied by ``scale`` it is a command in ``unit``.

    Attributes:
        name: unique name; for a joint, the joint's name in the observation.
        quantity: the commanded quantity, one of ``QUANTITIES``: the end effector's velocity along an axis of the world,
            the velocity of each finger joint, a joint's velocity or position, or ``raw`` for a quantity that only the
            environment or the driver defines.
        unit: unit of the command: m/s or rad/s for a velocity, m or rad for a position, any for a raw one.
        scale: command for an action of 1 [unit].
        low: smallest action; -1 unless the joint's limit is narrower.
        high: largest action.

    Raises:
        SpecError: the quantity is unknown, the unit is not one of its units, or the limits are empty.
    """

    name: str
    quantity: str
    unit: str
    scale: float = parameter(low=1e-9, high=1e6)
    low: float = parameter(-1.0, low=-1.0, high=1.0)
    high: float = parameter(1.0, low=-1.0, high=1.0)

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise SpecError(f"unknown action quantity {self.quantity!r}; allowed: {', '.join(QUANTITIES)}")
        units = _UNITS.get(self.quantity, (self.unit,))
        if self.unit not in units:
            allowed = " or ".join(units)
            raise SpecError(f"action {self.name!r}: {self.quantity} has unit {allowed}, got {self.unit!r}")
        if not -1.0 <= self.low < self.high <= 1.0:
            raise SpecError(f"action {self.name!r}: limits must rise within [-1, 1], got {self.low}, {self.high}")


# Velocities of an end effector and of its fingers.
_CARTESIAN = tuple(
    ActionComponent(name, quantity, "m/s", scale)
    for name, quantity, scale in zip(
        ("x", "y", "z", "gripper"),
        (*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY),
        (1.25, 1.25, 1.25, 25.0),
        strict=True,
    )
)


@dataclass(frozen=True)
class ActionSpec:
    """Layout of an action: its components, in order. An action is held over one control period.

    Actions are float32, so that scaling to float64 and back is exact: a command sent in a message converts back to the
    bit-equal action.

    Attributes:
        components: the components.

    Raises:
        SpecError: there are none, two have the same name, or one axis of the end effector is commanded twice.
    """

    components: tuple[ActionComponent, ...] = _CARTESIAN

    def __post_init__(self) -> None:
        if not self.components:
            raise SpecError("an action needs at least one component")
        if len(set(self.names)) != self.dim:
            raise SpecError(f"action components have duplicate names: {', '.join(self.names)}")
        for quantity in END_EFFECTOR_VELOCITY:
            if self.quantities.count(quantity) > 1:
                raise SpecError(f"{quantity} is commanded by more than one action component")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of each component."""
        return tuple(component.name for component in self.components)

    @cached_property
    def quantities(self) -> tuple[str, ...]:
        """Commanded quantity of each component."""
        return tuple(component.quantity for component in self.components)

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Unit of each component's command."""
        return tuple(component.unit for component in self.components)

    @cached_property
    def scale(self) -> tuple[float, ...]:
        """Command for an action of 1, of each component [unit]."""
        return tuple(component.scale for component in self.components)

    @cached_property
    def low(self) -> NDArray[np.float32]:
        """Smallest action (A,), read-only."""
        return _read_only([component.low for component in self.components], np.float32)

    @cached_property
    def high(self) -> NDArray[np.float32]:
        """Largest action (A,), read-only."""
        return _read_only([component.high for component in self.components], np.float32)

    @property
    def dim(self) -> int:
        """Number A of components."""
        return len(self.components)

    @property
    def end_effector(self) -> tuple[int, ...]:
        """Indices of the end effector's components along x, y and z in this order, as far as they exist."""
        return tuple(self.quantities.index(axis) for axis in END_EFFECTOR_VELOCITY if axis in self.quantities)

    def indices(self, *quantities: str) -> tuple[int, ...]:
        """Return the indices of components that command one of these quantities, in order."""
        return tuple(index for index, quantity in enumerate(self.quantities) if quantity in quantities)

    def clip(self, action: ArrayLike) -> NDArray[np.float32]:
        """Clip to the limits as float32; NaN stays NaN.

        Raises:
            SpecError: the last axis has the wrong length.
        """
        array = np.asarray(action, dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise SpecError(f"action has shape {array.shape}, its last axis must have length {self.dim}")
        low, high = self._bounds
        # Quicker than np.clip for few values.
        return np.minimum(np.maximum(array, low), high)

    def to_command(self, action: NDArray[np.float32]) -> NDArray[np.float64]:
        """Convert an action to a command, each component in its unit."""
        return action.astype(np.float64) * self._scale

    def from_command(self, command: ArrayLike) -> NDArray[np.float32]:
        """Convert a command to an action, the exact inverse of :meth:`to_command`."""
        return (np.asarray(command, dtype=np.float64) / self._scale).astype(np.float32)

    @classmethod
    def from_dict(cls, document: Any) -> ActionSpec:
        """Parse the document of :func:`dataclasses.asdict`, with lists for tuples.

        Older documents of data and checkpoints without components are accepted, too: ``names``, ``velocity_scale`` and
        optionally ``quantities``. Missing quantities follow from the names: x, y and z are the end effector's axes,
        gripper is the fingers, any other is a joint.

        Raises:
            SpecError: keys are missing or unknown, or a value has the wrong type or is out of range.
        """
        if isinstance(document, Mapping) and _NAMES in document:
            document = _with_components(document)
        return parsed(cls, with_keys(document, "components"))

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        return _read_only(self.scale, np.float64)

    @cached_property
    def _bounds(self) -> tuple[Any, Any]:
        """Limits to clip to; scalars, which are faster, if all components have the same limits."""
        same = (self.low == self.low[0]).all() and (self.high == self.high[0]).all()
        return (self.low[0], self.high[0]) if same else (self.low, self.high)


def _read_only(values: Any, dtype: Any) -> NDArray[Any]:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array


def _with_components(document: Mapping[str, Any]) -> dict[str, Any]:
    """Older document, with only velocities, in the current form.

    Raises:
        SpecError: keys are missing or unknown, or the values are not lists or differ in length.
    """
    with_keys(document, _NAMES, _VELOCITY_SCALE)
    if unknown := document.keys() - {_NAMES, _VELOCITY_SCALE, _QUANTITIES}:
        raise SpecError(f"the specification of actions has unknown keys: {', '.join(sorted(map(str, unknown)))}")
    lists = {key: document.get(key) or () for key in (_NAMES, _VELOCITY_SCALE, _QUANTITIES)}
    for key, value in lists.items():
        if not isinstance(value, (list, tuple)):
            raise SpecError(f"{key} of the specification of actions must be a list")
    names, scales = lists[_NAMES], lists[_VELOCITY_SCALE]
    quantities = lists[_QUANTITIES] or [_quantity_of(name) for name in names]
    if len(names) != len(scales):
        raise SpecError(f"{len(names)} action names but {len(scales)} velocity scales")
    if len(names) != len(quantities):
        raise SpecError(f"{len(names)} action names but {len(quantities)} quantities")
    components = [
        {"name": name, "quantity": quantity, "unit": _velocity_unit(quantity), "scale": scale}
        for name, quantity, scale in zip(names, quantities, scales, strict=True)
    ]
    return {"components": components}


def _quantity_of(name: Any) -> str:
    if name in ("x", "y", "z"):
        return END_EFFECTOR_VELOCITY["xyz".index(name)]
    return GRIPPER_VELOCITY if name == "gripper" else JOINT_VELOCITY


def _velocity_unit(quantity: Any) -> str:
    return "rad/s" if quantity == JOINT_VELOCITY else "m/s"
