"""Rigid transforms between coordinate frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.rotations import matrix_from_quat, multiply_quat

Vector = tuple[float, ...]

_NO_TURN = (1.0, 0.0, 0.0, 0.0)
# Tolerance of the norm of a quaternion, which may be rounded in a file.
_NORM_TOLERANCE = 1e-3


def position_parameter(description: str, limit: float = 1e3) -> Any:
    """Declare a configuration's field of a position, by default the origin; see :func:`parameter`."""
    return parameter((0.0, 0.0, 0.0), f"{description} [m]", low=-limit, high=limit)


def rotation_parameter(description: str) -> Any:
    """Declare a configuration's field of a rotation, by default none; see :func:`rotation_fault`."""
    return parameter(_NO_TURN, f"{description}; a unit quaternion w, x, y, z", low=-1.0, high=1.0)


@dataclass(frozen=True)
class RigidTransform:
    """Pose of a frame B in a frame A, which transforms coordinates from B to A: ``x_a = R x_b + position``.

    With an identity rotation only the offset is added; with an identity transform coordinates are bit-equal.

    Attributes:
        position: origin of B in A (3,) [m].
        quat_wxyz: orientation of B in A, a unit quaternion, scalar first; nearly unit ones are normalised.

    Raises:
        SpecError: a number is not finite, or the quaternion is not a rotation.
    """

    position: Vector = (0.0, 0.0, 0.0)
    quat_wxyz: Vector = _NO_TURN

    def __post_init__(self) -> None:
        fault = rotation_fault(self.quat_wxyz)
        if fault:
            raise SpecError(fault)
        if len(self.position) != 3 or not all(map(math.isfinite, self.position)):
            raise SpecError(f"a position is three finite numbers, got {self.position}")
        norm = math.hypot(*self.quat_wxyz)
        object.__setattr__(self, "position", tuple(map(float, self.position)))
        object.__setattr__(self, "quat_wxyz", tuple(value / norm for value in self.quat_wxyz))

    @cached_property
    def inverse(self) -> RigidTransform:
        """The transform from A to B."""
        w, x, y, z = self.quat_wxyz
        turned_back = RigidTransform(quat_wxyz=(w, -x, -y, -z))
        return RigidTransform(tuple(-value for value in turned_back.vector(self.position)), turned_back.quat_wxyz)

    def point(self, point_b: Sequence[float]) -> Vector:
        """Transform a point (3,) [m] from B to A."""
        return tuple(turned + offset for turned, offset in zip(self.vector(point_b), self.position, strict=True))

    def vector(self, vector_b: Sequence[float]) -> Vector:
        """Rotate a direction, velocity or displacement (3,) from B to A."""
        if self._rows is None:
            return tuple(vector_b)
        x, y, z = vector_b
        return tuple(row[0] * x + row[1] * y + row[2] * z for row in self._rows)

    def pose(self, position_b: Sequence[float], quat_b_wxyz: Sequence[float]) -> tuple[Vector, Vector]:
        """Transform a pose, position (3,) [m] and unit quaternion (4,), from B to A."""
        quat = tuple(quat_b_wxyz)
        if self._rows is not None:
            quat = tuple(multiply_quat(np.array(self.quat_wxyz), np.array(quat)).tolist())
        return self.point(position_b), quat

    @cached_property
    def _rows(self) -> list[list[float]] | None:
        """The rotation matrix; None for the identity."""
        if not any(self.quat_wxyz[1:]):
            return None
        rows: list[list[float]] = matrix_from_quat(np.array(self.quat_wxyz)).tolist()
        return rows


def rotation_fault(quat_wxyz: Sequence[float]) -> str:
    """Return why a quaternion is not a rotation, for a message; empty if it is one."""
    norm = math.hypot(*quat_wxyz)
    # In this order, because comparisons with NaN are false.
    if len(quat_wxyz) == 4 and abs(norm - 1.0) <= _NORM_TOLERANCE:
        return ""
    return f"must be a unit quaternion w, x, y, z, got {tuple(quat_wxyz)} of length {norm:g}"


IDENTITY = RigidTransform()
