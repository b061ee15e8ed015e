"""The tasks as Gymnasium ids, ``reskill/FetchCleanUp-v0`` for the task ``clean_up``.

Importing ``reskill_sim`` registers them. What an id stands for is imported when it is made, so that a process that
wants something else of this package does not pay for MuJoCo.
"""

from __future__ import annotations

import gymnasium

from reskill_sim.families import family_of, task_names


def env_id(task: str) -> str:
    """Gymnasium's id of a task."""
    return f"reskill/{family_of(task).gym_prefix}{task.title().replace('_', '')}-v0"


def register_envs() -> None:
    """Register every task that is not registered yet.

    No ``max_episode_steps``: the horizon is the task's, and the environment itself truncates there. Gymnasium would
    put a second clock around it.
    """
    for task in task_names():
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                env_id(task),
                entry_point="reskill_sim.gym.task_env:TaskEnv",
                vector_entry_point="reskill_sim.gym.task_vector_env:TaskVectorEnv",
                kwargs={"task": task},
            )
