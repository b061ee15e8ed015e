"""Measured positions that action components change, as the start of commands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_FRAME, GRIPPER_VELOCITY, RAW, ObsTerm, TaskSpec


class CommandedPlace:
    """Reader of the measured position of each action component from an observation.

    For the end effector that is the gripper frame's position along the component's axis, for the gripper the mean
    finger position [m], and for a joint's velocity or position the joint's position [m or rad]. For a ``raw`` component
    it is 0.
    """

    def __init__(self, task: TaskSpec) -> None:
        """Find the positions in the observation.

        Raises:
            SpecError: the observation lacks one of them.
        """
        self._columns = [
            _columns(task, name, quantity)
            for name, quantity in zip(task.action.names, task.action.quantities, strict=True)
        ]

    def read(self, observation: NDArray[np.float64]) -> tuple[float, ...]:
        """Read one position per action component [m or rad] from an observation (O,)."""
        return tuple(float(observation[columns].mean()) if len(columns) else 0.0 for columns in self._columns)


def _columns(task: TaskSpec, name: str, quantity: str) -> NDArray[np.int64]:
    """Indices of the observation's entries whose mean is the position of an action component; none for a raw one."""
    indices = np.arange(task.obs.dim)
    if quantity == RAW:
        return indices[:0]
    for term in task.obs.terms:
        columns = indices[task.obs.slice(term.name)]
        if quantity in END_EFFECTOR_VELOCITY:
            if term.kind == "position" and term.of == (GRIPPER_FRAME,):
                axis = END_EFFECTOR_VELOCITY.index(quantity)
                return columns[axis : axis + 1]
        elif term.kind == "joint_position":
            if quantity == GRIPPER_VELOCITY:
                return columns
            if name in term.of:
                return columns[[term.of.index(name)]]
        elif quantity != GRIPPER_VELOCITY and _is_joint(term, name):
            return columns
    raise SpecError(f"the observation of task {task.name!r} does not hold what action {name!r} ({quantity}) moves")


def _is_joint(term: ObsTerm, name: str) -> bool:
    """Whether a term is a joint's position, provided by the environment or driver under the joint's name."""
    return term.kind == "named" and term.name == name and term.size == 1 and term.unit in ("rad", "m")


def moved_joints(task: TaskSpec) -> tuple[tuple[str, ...], ...]:
    """Return the joints that each action component moves, by their names; none for the end effector and raw."""
    fingers = next((term.of for term in task.obs.terms if term.kind == "joint_position"), ())
    return tuple(
        () if quantity in (*END_EFFECTOR_VELOCITY, RAW) else fingers if quantity == GRIPPER_VELOCITY else (name,)
        for name, quantity in zip(task.action.names, task.action.quantities, strict=True)
    )
