"""Which tasks there are, and which one a node serves: by name, or the one that a checkpoint was made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    from reskill_sim.fetch.tasks import get_task

    return get_task(name).spec


@dataclass(frozen=True)
class SimulatedNames:
    """What a simulator offers, by name.

    Attributes:
        tasks: all tasks.
        demonstrators: the demonstrators of each task that has some.
        profiles: fidelity profiles.
    """

    tasks: tuple[str, ...] = ()
    demonstrators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()


def simulated_names() -> SimulatedNames:
    """What there is to simulate; nothing where there is no simulator."""
    try:
        from reskill_sim.fetch.demonstrators import CONTROLLERS
        from reskill_sim.fetch.profiles import PROFILES
        from reskill_sim.fetch.tasks import TASKS
    except ModuleNotFoundError:
        # A robot's computer does without; what needs a simulator there says so itself.
        return SimulatedNames()
    demonstrators = {task: tuple(controllers) for task, controllers in CONTROLLERS.items()}
    return SimulatedNames(tuple(TASKS), demonstrators, tuple(PROFILES))


def simulated_joints() -> tuple[str, ...]:
    """Joints of the robot that is simulated; none where there is no simulator."""
    try:
        from reskill_sim.fetch.constants import JOINT_NAMES
    except ModuleNotFoundError:
        return ()
    return JOINT_NAMES
