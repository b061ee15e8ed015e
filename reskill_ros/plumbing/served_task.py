"""The task that a node serves: one of the simulator's by name, or the one that a checkpoint was made for."""

from __future__ import annotations

from reskill_core.checkpoint import load_checkpoint
from reskill_core.runtime.loading import POLICY_KINDS
from reskill_core.spec import TaskSpec


def task_spec(name: str, skills: str = "") -> TaskSpec:
    """Specification of a task.

    Args:
        name: a task of the simulator's registry.
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


def simulated_joints() -> tuple[str, ...]:
    """Joints of the robot that is simulated; none where there is no simulator."""
    try:
        from reskill_sim.fetch.constants import JOINT_NAMES
    except ModuleNotFoundError:
        return ()
    return JOINT_NAMES
