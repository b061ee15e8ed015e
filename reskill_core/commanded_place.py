"""The measured place of what an action moves: where a command starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.spec import END_EFFECTOR_VELOCITY, GRIPPER_FRAME, GRIPPER_VELOCITY, RAW, ObsTerm, TaskSpec


class CommandedPlace:
    """Reads from an observation where what each action component moves is.

    That is the gripper frame's position along the component's axis, the mean finger position for the gripper [m], and
    for a joint's velocity or position the joint's own position [m or rad]. A ``raw`` component moves nothing that is
    known: its place is 0.
    """

    def __init__(self, task: TaskSpec) -> None:
        """Find the quantities in the observation.

        Raises:
            SpecError: the observation does not hold the one or the other.
        """
        self._columns = [
            _columns(task, name, quantity)
            for name, quantity in zip(task.action.names, task.action.quantities, strict=True)
        ]

    def read(self, observation: NDArray[np.float64]) -> tuple[float, ...]:
        """One measured value per action component [m or rad] from an observation (O,)."""
        return tuple(float(observation[columns].mean()) if len(columns) else 0.0 for columns in self._columns)


def _columns(task: TaskSpec, name: str, quantity: str) -> NDArray[np.int64]:
    """Indices of the observation's entries whose mean is what an action component moves; none for a raw one."""
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
    """Whether a term is the position of a joint that the environment or the driver gives under the joint's name."""
    return term.kind == "named" and term.name == name and term.size == 1 and term.unit in ("rad", "m")


def moved_joints(task: TaskSpec) -> tuple[tuple[str, ...], ...]:
    """By action component, the joints it moves, as the observation calls them; none for the end effector and raw."""
    fingers = next((term.of for term in task.obs.terms if term.kind == "joint_position"), ())
    return tuple(
        () if quantity in (*END_EFFECTOR_VELOCITY, RAW) else fingers if quantity == GRIPPER_VELOCITY else (name,)
        for name, quantity in zip(task.action.names, task.action.quantities, strict=True)
    )
