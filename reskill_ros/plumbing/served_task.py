"""Task that a node serves, and its robot: given by the task's name or by a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reskill_core.checkpoint import load_checkpoint
from reskill_core.errors import SimulationError
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.spec import TaskSpec
from reskill_ros.plumbing.task_settings import parse_settings

if TYPE_CHECKING:
    from reskill_core.kinematics import Kinematics
    from reskill_sim.engine.family import Family


def task_spec(name: str, skills: str = "", settings: str = "") -> TaskSpec:
    """Load the specification of a task.

    Args:
        name: task of one of the environment families.
        skills: checkpoint of a skill module or agent whose task is used instead; needs no simulator.
        settings: settings of the named task that differ from the default, as YAML.

    Raises:
        ConfigError: the task is unknown, the message lists the known ones; or it does not have these settings.
        CheckpointError: the checkpoint is missing or damaged.
    """
    if skills:
        return load_checkpoint(skills, *POLICY_KINDS).task
    # Imported here so that a robot driven from a checkpoint needs no simulator.
    from reskill_sim.families import get_task

    return get_task(name, settings=parse_settings(settings)).spec


def robot_joints(task: str) -> set[str]:
    """Return the joint names of a task's robot, in addition to the observed ones; empty without a simulator."""
    return {name for family in _families_of(task) for name in family.joint_names}


def robot_kinematics(task: str) -> Kinematics:
    """Create the forward kinematics of the arm of a task's robot.

    Raises:
        SimulationError: no installed simulator provides them.
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
    """Return the family of a task; all families if none has the task, none without a simulator."""
    try:
        from reskill_sim.families import families
    except ModuleNotFoundError:
        # A robot's computer has no simulator; functions that need one raise their own error.
        return []
    return [family for family in families() if task in family.tasks] or list(families())
