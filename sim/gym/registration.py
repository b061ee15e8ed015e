"""The tasks as Gymnasium ids, ``reskill/FetchCleanUp-v0`` for the task ``clean_up``.

Importing ``reskill_sim`` registers them. What an id stands for is imported when it is made, so that a process that
wants something else of this package does not pay for MuJoCo.
"""

from __future__ import annotations

import gymnasium

from reskill_sim.fetch.tasks import TASKS


def env_id(task: str) -> str:
    """Gymnasium's id of a task."""
    return f"reskill/Fetch{task.title().replace('_', '')}-v0"


def register_envs() -> None:
    """Register every task that is not registered yet.

    No ``max_episode_steps``: the horizon is the task's, and the environment itself truncates there. Gymnasium would
    put a second clock around it.
    """
    for task in TASKS:
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                env_id(task),
                entry_point="reskill_sim.gym.gym_envs:FetchEnv",
                vector_entry_point="reskill_sim.gym.gym_envs:FetchVectorEnv",
                kwargs={"task": task},
            )
