"""What an observation and an action mean: names, order, units, frames and quantities, as data.

An :class:`ObsSpec` is at once documentation (every slice named, with unit and frame), the only source of index
arithmetic into observations, and the recipe by which :mod:`reskill_core.observation` computes them from sensors,
in the simulator and on the robot alike. Data sets and checkpoints carry the :class:`TaskSpec` they were made for.
"""

from reskill_core.spec.actions import (
    END_EFFECTOR_VELOCITY,
    GRIPPER_VELOCITY,
    JOINT_POSITION,
    JOINT_VELOCITY,
    QUANTITIES,
    RAW,
    VELOCITIES,
    ActionComponent,
    ActionSpec,
)
from reskill_core.spec.layout import (
    GOAL_FRAME,
    GRIPPER_FRAME,
    TERM_KINDS,
    ImageFeature,
    ObsSpec,
    ObsTerm,
    frame_term,
    joint_term,
    named_term,
    zeros_term,
)
from reskill_core.spec.observations import (
    VECTOR,
    Observations,
    copied,
    images_of,
    num_rows,
    put_rows,
    stacked,
    take_rows,
    vector_of,
)
from reskill_core.spec.task import TaskSpec

__all__ = [
    "END_EFFECTOR_VELOCITY",
    "GOAL_FRAME",
    "GRIPPER_FRAME",
    "GRIPPER_VELOCITY",
    "JOINT_POSITION",
    "JOINT_VELOCITY",
    "QUANTITIES",
    "RAW",
    "TERM_KINDS",
    "VECTOR",
    "VELOCITIES",
    "ActionComponent",
    "ActionSpec",
    "ImageFeature",
    "ObsSpec",
    "ObsTerm",
    "Observations",
    "TaskSpec",
    "copied",
    "frame_term",
    "images_of",
    "joint_term",
    "named_term",
    "num_rows",
    "put_rows",
    "stacked",
    "take_rows",
    "vector_of",
    "zeros_term",
]
