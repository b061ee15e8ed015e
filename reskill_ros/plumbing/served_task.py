"""The task that a node serves, and the robot that it is for: by the task's name, or as a checkpoint was made for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reskill_core.checkpoint import load_checkpoint
from reskill_core.errors import SimulationError
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.spec import TaskSpec

if TYPE_CHECKING:
    from reskill_sim.engine.family import Family, Kinematics


def task_spec(name: str, skills: str = "") -> TaskSpec:
    """Specification of a task.

    Args:
        name: a task of one of the environment families.
        skills: checkpoint of a skill module or agent whose task is taken instead; needs no simulator.

    Raises:
        ConfigError: there is no such task; the message lists those there are.
        CheckpointError: the checkpoint is missing or damaged.
    """
    if skills:
        return load_checkpoint(skills, *POLICY_KINDS).task
    # Only here, so that a robot driven from a checkpoint needs no simulator installed.
    from reskill_sim.families import get_task

    return get_task(name).spec


def robot_joints(task: str) -> set[str]:
    """Joints of the robot that a task is for, beside those that are observed; none where there is no simulator."""
    return {name for family in _families_of(task) for name in family.joint_names}


def robot_kinematics(task: str) -> Kinematics:
    """Forward kinematics of the arm of the robot that a task is for.

    Raises:
        SimulationError: there is no simulator that knows them.
    """
    for family in _families_of(task):
        try:
            return family.make_kinematics()
        except SimulationError:
            continue
    raise SimulationError(
        f"gripper: kinematics: no simulator is installed that knows the arm of task {task!r}; let the driver publish "
        "the gripper's pose, with gripper: topic"
    )


def _families_of(task: str) -> list[Family]:
    """The family that a task is one of; all there are for a task that none has, none where there is no simulator."""
    try:
        from reskill_sim.families import families
    except ModuleNotFoundError:
        # A robot's computer does without; what needs a simulator there says so itself.
        return []
    return [family for family in families() if task in family.tasks] or list(families())
