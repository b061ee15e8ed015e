"""Subtasks of the kitchen, and the rule by which they are completed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array

# Distance from the goal below which a subtask is completed, in the joints' own units [rad, m] together.
COMPLETED_WITHIN = 0.3


@dataclass(frozen=True)
class Subtask:
    """Subtask: bring some joints near their goal.

    Attributes:
        observed: names of the observation terms whose positions it is about.
        goal: goal of these coordinates [rad, m; quaternion of the kettle].
        first: its first coordinate among the model's 30.
    """

    observed: tuple[str, ...]
    goal: tuple[float, ...]
    first: int

    def distance(self, qpos: Float64Array) -> Float64Array:
        """(n,) distance from the goal at coordinates (n, 30)."""
        moved = qpos[:, self.first : self.first + len(self.goal)] - np.array(self.goal)
        return np.linalg.norm(moved, axis=1)


SUBTASKS = {
    "microwave": Subtask(("microwave_position",), (-0.75,), 22),
    "kettle": Subtask(("kettle_position", "kettle_quaternion"), (-0.23, 0.75, 1.62, 0.99, 0.0, 0.0, -0.06), 23),
    "bottom_burner": Subtask(("bottom_left_knob_position", "bottom_left_burner_position"), (-0.88, -0.01), 11),
    "top_burner": Subtask(("top_left_knob_position", "top_left_burner_position"), (-0.92, -0.01), 15),
    "light_switch": Subtask(("light_switch_position", "light_position"), (-0.69, -0.05), 17),
    "slide_cabinet": Subtask(("slide_cabinet_position",), (0.37,), 19),
    "hinge_cabinet": Subtask(("left_hinge_cabinet_position", "right_hinge_cabinet_position"), (0.0, 1.45), 20),
}


def distances(subtasks: tuple[str, ...], qpos: Float64Array) -> Float64Array:
    """(n, K) distance from each subtask's goal at coordinates (n, 30)."""
    return np.stack([SUBTASKS[name].distance(qpos) for name in subtasks], axis=1)


def newly_completed(near: BoolArray, before: BoolArray, ordered: bool) -> BoolArray:
    """(n, K) which subtasks are completed in a step.

    Args:
        near: (n, K) whether each is near its goal now.
        before: (n, K) which ones had been completed before; these stay completed whatever happens.
        ordered: whether a subtask counts only after all those before it in the list.
    """
    if not ordered:
        return near & ~before
    return (np.cumprod(near | before, axis=1) > 0) & ~before
