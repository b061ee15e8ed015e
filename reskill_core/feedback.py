"""What an action moves, as measured: the place that a commanded velocity starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SpecError
from reskill_core.spec import GRIPPER_FRAME, TaskSpec

_AXES = ("x", "y", "z")
_FINGERS = "gripper"


class Feedback:
    """Reads from an observation where each action component's quantity is.

    That is the gripper frame's position for x, y and z, and the mean finger position for the gripper [m].
    """

    def __init__(self, task: TaskSpec) -> None:
        """Find the quantities in the observation.

        Raises:
            SpecError: the observation does not hold the one or the other.
        """
        indices = np.arange(task.obs.dim)
        self._columns: list[NDArray[np.int64]] = []
        for name in task.action.names:
            columns = [
                indices[task.obs.slice(term.name)]
                for term in task.obs.terms
                if (name in _AXES and term.kind == "position" and term.of == (GRIPPER_FRAME,))
                or (name == _FINGERS and term.kind == "joint_position")
            ]
            if not columns:
                raise SpecError(f"the observation of task {task.name!r} does not hold what action {name!r} moves")
            axis = slice(_AXES.index(name), _AXES.index(name) + 1) if name in _AXES else slice(None)
            self._columns.append(columns[0][axis])

    def read(self, observation: NDArray[np.float64]) -> tuple[float, ...]:
        """One measured value per action component [m] from an observation (O,)."""
        return tuple(float(observation[columns].mean()) for columns in self._columns)
