"""Which tasks there are, and which one a node serves: by name, or the one that a checkpoint was made for."""

from __future__ import annotations

from reskill_core.checkpoint import load_checkpoint
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND
from reskill_core.spec import TaskSpec


def task_spec(name: str, skills: str = "") -> TaskSpec:
    """Specification of a task.

    Args:
        name: a task of the simulator's registry.
        skills: checkpoint of a skill module whose task is taken instead; needs no simulator.

    Raises:
        ConfigError: there is no such task; the message lists those there are.
        CheckpointError: the checkpoint is missing or damaged.
    """
    if skills:
        return load_checkpoint(skills, SKILL_MODULE_KIND).task
    # Only here, so that a robot driven from a checkpoint needs no simulator installed.
    from reskill_sim.tasks import get_task

    return get_task(name).spec


def simulated_tasks() -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Names of all tasks, and of the demonstrators of those that have some; empty where there is no simulator."""
    try:
        from reskill_sim.demonstrators import CONTROLLERS
        from reskill_sim.tasks import TASKS
    except ModuleNotFoundError:
        # A robot's computer does without; what needs a simulator there says so itself.
        return (), {}
    return tuple(TASKS), {task: tuple(controllers) for task, controllers in CONTROLLERS.items()}
