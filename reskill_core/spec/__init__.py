"""Specifications of observations and actions as data: names, order, units, frames and quantities.

An :class:`ObsSpec` documents every slice of an observation with unit and frame, is the only source of index arithmetic
into observations, and defines how :mod:`reskill_core.observation` computes them from sensor readings, in the simulator
and on the robot. Data sets and checkpoints contain the :class:`TaskSpec` of their task.
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
    joined,
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
    "joined",
    "joint_term",
    "named_term",
    "num_rows",
    "put_rows",
    "stacked",
    "take_rows",
    "vector_of",
    "zeros_term",
]
