"""What an observation and an action mean: names, order, units and frames, as data.

An :class:`ObsSpec` is at once documentation (every slice named, with unit and frame), the only source of index
arithmetic into observations, and the recipe by which :mod:`reskill_core.observation` computes them from sensors,
in the simulator and on the robot alike. Data sets and checkpoints carry the :class:`TaskSpec` they were made for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError, SpecError
from reskill_core.parameters import parameter
from reskill_core.text import shortened

# What one component of an action commands; for the end effector, along one axis of the world.
END_EFFECTOR_VELOCITY = ("end_effector_velocity_x", "end_effector_velocity_y", "end_effector_velocity_z")
GRIPPER_VELOCITY = "gripper_velocity"
JOINT_VELOCITY = "joint_velocity"
QUANTITIES = (*END_EFFECTOR_VELOCITY, GRIPPER_VELOCITY, JOINT_VELOCITY)

T = TypeVar("T")

GRIPPER_FRAME = "gripper"
GOAL_FRAME = "goal"

# Entries of an observation: more than any robot has, less than fills a machine.
_MAX_DIM = 10_000

# Number of frames (or "any" joints) each kind of term refers to, and its size per reference (0: given by the term).
_FRAME_ARITY = {
    "position": 1,
    "relative_position": 2,
    "displacement": 1,
    "relative_displacement": 2,
    "euler": 1,
    "rotation_displacement": 1,
}
_JOINT_KINDS = ("joint_position", "joint_displacement")
TERM_KINDS = (*_FRAME_ARITY, *_JOINT_KINDS, "zeros")


@dataclass(frozen=True)
class ObsTerm:
    """One named slice of an observation.

    Attributes:
        name: unique name of the slice.
        kind: how it is computed, one of ``TERM_KINDS``:
            ``position`` of a frame [m]; ``relative_position`` of the first frame to the second [m];
            ``displacement`` of a frame over the last control period [m] (the Fetch convention of velocity times
            period); ``relative_displacement`` the same, minus that of the second frame; ``euler`` angles of a frame
            [rad]; ``rotation_displacement`` rotation vector over the last control period [rad];
            ``joint_position`` and ``joint_displacement`` of joints [m or rad]; ``zeros`` as padding.
        of: the frames or joints it refers to.
        size: number of entries.
        unit: unit of the entries.
        frame: coordinate frame the entries are expressed in, empty for joint quantities.
    """

    name: str
    kind: str
    of: tuple[str, ...]
    size: int = field(metadata={"low": 1, "high": 1000})
    unit: str
    frame: str = "world"

    def __post_init__(self) -> None:
        if self.kind not in TERM_KINDS:
            raise SpecError(f"term {self.name!r}: unknown kind {self.kind!r}; allowed: {', '.join(TERM_KINDS)}")
        expected_size = 3 if self.kind in _FRAME_ARITY else len(self.of)
        if self.kind != "zeros" and self.size != expected_size:
            raise SpecError(f"term {self.name!r}: kind {self.kind!r} has size {expected_size}, got {self.size}")
        if self.kind in _FRAME_ARITY and len(self.of) != _FRAME_ARITY[self.kind]:
            raise SpecError(
                f"term {self.name!r}: kind {self.kind!r} refers to {_FRAME_ARITY[self.kind]} frame(s), got {self.of}"
            )


def frame_term(name: str, kind: str, *of: str) -> ObsTerm:
    """An observation term over one or two frames, in world coordinates."""
    return ObsTerm(name, kind, of, 3, "rad" if kind in ("euler", "rotation_displacement") else "m")


def joint_term(name: str, kind: str, joints: tuple[str, ...], unit: str = "m") -> ObsTerm:
    """An observation term over joints."""
    return ObsTerm(name, kind, joints, len(joints), unit, frame="")


def zeros_term(name: str, size: int) -> ObsTerm:
    """Padding."""
    return ObsTerm(name, "zeros", (), size, "1", frame="")


@dataclass(frozen=True)
class ObsSpec:
    """Layout of an observation vector.

    Attributes:
        frames: names of the frames it needs the poses of, ``gripper`` first, ``goal`` last by convention.
        joints: names of the joints it needs the positions of.
        terms: its slices, in order.
    """

    frames: tuple[str, ...]
    joints: tuple[str, ...]
    terms: tuple[ObsTerm, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise SpecError(f"observation terms have duplicate names: {names}")
        for term in self.terms:
            known = self.joints if term.kind in _JOINT_KINDS else self.frames
            unknown = [name for name in term.of if name not in known]
            if unknown:
                raise SpecError(f"term {term.name!r} refers to unknown {unknown}; known: {', '.join(known)}")

    @cached_property
    def _slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for term in self.terms:
            slices[term.name] = slice(start, start + term.size)
            start += term.size
        return slices

    @property
    def dim(self) -> int:
        """Length of the observation vector."""
        return sum(term.size for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slices, in order."""
        return tuple(self._slices)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the frames that are neither the gripper nor the goal."""
        return tuple(name for name in self.frames if name not in (GRIPPER_FRAME, GOAL_FRAME))

    def slice(self, name: str) -> slice:
        """Where a named term stands in the vector.

        Raises:
            SpecError: no term has that name.
        """
        try:
            return self._slices[name]
        except KeyError:
            raise SpecError(f"no observation term {name!r}; terms: {', '.join(self.names)}") from None

    def check(self, observation: ArrayLike) -> NDArray[Any]:
        """Return ``observation`` as an array whose last axis has length :attr:`dim`.

        Raises:
            SpecError: it has another length.
        """
        array = np.asarray(observation)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise SpecError(f"observation has shape {array.shape}, its last axis must have length {self.dim}")
        return array

    def violations(self) -> list[str]:
        """Sizes that no observation has."""
        return [] if 1 <= self.dim <= _MAX_DIM else [f"must have from 1 to {_MAX_DIM} entries, got {self.dim}"]


def _quantity_of(name: str) -> str:
    axes = dict(zip("xyz", END_EFFECTOR_VELOCITY, strict=True))
    return axes.get(name, GRIPPER_VELOCITY if name == "gripper" else JOINT_VELOCITY)


@dataclass(frozen=True)
class ActionSpec:
    """Layout and scale of an action in [-1, 1]: a commanded velocity held over one control period.

    ``action * velocity_scale`` is the velocity of what each component moves. Actions are float32 and the scales have
    few significant bits, so that scaling to float64 and back is exact: what crosses the wire as a velocity arrives as
    the same action, bit for bit.

    Attributes:
        names: unique name of each component, for people; a joint's velocity has the name of the joint.
        velocity_scale: velocity that 1 stands for [m/s or rad/s].
        quantities: what each component commands, one of ``QUANTITIES``: the end effector's velocity along an axis of
            the world [m/s], the velocity of each finger joint [m/s], or a joint's velocity [rad/s or m/s]. Where they
            are not given, as in data and checkpoints that are older than they, the names tell: x, y and z are the end
            effector's, gripper is the fingers', and any other is a joint.

    Raises:
        SpecError: the fields differ in length, a quantity is unknown, or one axis is commanded twice.
    """

    names: tuple[str, ...] = ("x", "y", "z", "gripper")
    velocity_scale: tuple[float, ...] = parameter((1.25, 1.25, 1.25, 25.0), low=1e-9, high=1e6)
    quantities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.quantities:
            object.__setattr__(self, "quantities", tuple(map(_quantity_of, self.names)))
        if len(self.names) != len(self.velocity_scale):
            raise SpecError(f"{len(self.names)} action names but {len(self.velocity_scale)} velocity scales")
        if len(self.names) != len(self.quantities):
            raise SpecError(f"{len(self.names)} action names but {len(self.quantities)} quantities")
        for quantity in self.quantities:
            if quantity not in QUANTITIES:
                raise SpecError(f"unknown action quantity {quantity!r}; allowed: {', '.join(QUANTITIES)}")
            if quantity in END_EFFECTOR_VELOCITY and self.quantities.count(quantity) > 1:
                raise SpecError(f"{quantity} is commanded by more than one action component")

    @property
    def end_effector(self) -> tuple[int, ...]:
        """Components that move the end effector, along x, y and z in this order; fewer where there are fewer."""
        return tuple(self.quantities.index(axis) for axis in END_EFFECTOR_VELOCITY if axis in self.quantities)

    @property
    def dim(self) -> int:
        """Number of action components."""
        return len(self.names)

    @cached_property
    def _scale(self) -> NDArray[np.float64]:
        return np.array(self.velocity_scale)

    def clip(self, action: ArrayLike) -> NDArray[np.float32]:
        """Clip to [-1, 1] as float32; NaN stays NaN.

        Raises:
            SpecError: the last axis has the wrong length.
        """
        array = np.asarray(action, dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise SpecError(f"action has shape {array.shape}, its last axis must have length {self.dim}")
        return np.clip(array, np.float32(-1), np.float32(1))

    def to_velocity(self, action: NDArray[np.float32]) -> NDArray[np.float64]:
        """Velocity [m/s or rad/s] that an action commands."""
        return action.astype(np.float64) * self._scale

    def from_velocity(self, velocity: ArrayLike) -> NDArray[np.float32]:
        """Action that commands a velocity [m/s or rad/s]; exact inverse of :meth:`to_velocity`."""
        return (np.asarray(velocity, dtype=np.float64) / self._scale).astype(np.float32)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ActionSpec:
        """Inverse of :func:`dataclasses.asdict`, accepting lists for tuples.

        Raises:
            SpecError: keys are missing or unknown, or a value has the wrong type or is out of range.
        """
        return _parsed(cls, _with_keys(document, "names", "velocity_scale"))


@dataclass(frozen=True)
class TaskSpec:
    """What data, models and nodes must agree on to work together.

    Attributes:
        name: name of the task.
        obs: observation layout.
        action: action layout.
        control_period_s: time one action is held [s].
        horizon: control steps after which an episode is truncated.
        description: one sentence for people.
    """

    name: str
    obs: ObsSpec
    action: ActionSpec = field(default_factory=ActionSpec)
    control_period_s: float = parameter(0.04, low=1e-4, high=100.0)
    horizon: int = parameter(50, low=1, high=10**6)
    description: str = ""

    @property
    def control_rate_hz(self) -> float:
        """Control steps per second."""
        return 1.0 / self.control_period_s

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries and lists, ready for JSON."""
        return _plain(asdict(self))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TaskSpec:
        """Inverse of :meth:`to_dict`.

        Raises:
            SpecError: keys are missing or unknown, or a value has the wrong type or is out of range.
        """
        document = _with_keys(document, "name", "obs", "action")
        # By itself, for what an older one leaves out follows from its names.
        action = ActionSpec.from_dict(document["action"])
        return _parsed(cls, {**document, "action": action})

    def differences(self, other: TaskSpec, ignore: tuple[str, ...] = ("description",)) -> list[str]:
        """Every field in which two specifications differ, as ``path: mine != theirs``; empty if they agree."""
        mine, theirs = self.to_dict(), other.to_dict()
        for key in ignore:
            mine.pop(key, None)
            theirs.pop(key, None)
        return _differences("", mine, theirs)

    def interface_differences(self, other: TaskSpec) -> list[str]:
        """Like :meth:`differences`, of what a policy needs: layouts and period, not the name or the horizon."""
        return self.differences(other, ignore=("description", "name", "horizon"))


def _with_keys(document: Any, *keys: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping) or not document.keys() >= set(keys):
        raise SpecError(f"a specification needs {', '.join(keys)}, found {shortened(document)}")
    return document


def _parsed(cls: type[T], document: Mapping[str, Any]) -> T:
    try:
        return config_from_dict(cls, document, source="the specification")
    except ConfigError as error:
        raise SpecError(str(error)) from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _differences(path: str, mine: Any, theirs: Any) -> list[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        found = []
        for key in sorted(mine.keys() | theirs.keys()):
            child = f"{path}.{key}" if path else key
            found += _differences(child, mine.get(key, "(absent)"), theirs.get(key, "(absent)"))
        return found
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [d for i, pair in enumerate(zip(mine, theirs, strict=True)) for d in _differences(f"{path}[{i}]", *pair)]
    if isinstance(mine, float) and isinstance(theirs, float) and math.isclose(mine, theirs, rel_tol=1e-12):
        return []
    return [] if mine == theirs else [f"{path}: {mine!r} != {theirs!r}"]
