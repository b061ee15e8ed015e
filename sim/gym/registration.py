"""Registration of the tasks with Gymnasium, such as ``reskill/FetchCleanUp-v0`` for the task ``clean_up``.

Importing ``reskill_sim`` registers them. The environment classes are imported on demand, so that other uses of this
package do not import MuJoCo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium

from reskill_core.plugins import PluginError
from reskill_sim.families import FAMILIES, family_of

if TYPE_CHECKING:
    from reskill_sim.engine.family import Family


def env_id(task: str) -> str:
    """Return the Gymnasium id of a task."""
    return _id_in(family_of(task), task)


def register_envs() -> None:
    """Register every task of every family that can be imported and is not registered yet.

    Without ``max_episode_steps``, because the environment itself truncates at the task's horizon, and Gymnasium would
    add a ``TimeLimit`` wrapper.
    """
    for name in FAMILIES:
        try:
            family: Family = FAMILIES.get(name)
        except PluginError:
            # Whoever asks for it is told. One that is being imported at this moment, before this package, is not
            # broken: its tasks have ids after the next call.
            continue
        for task in family.tasks:
            if _id_in(family, task) not in gymnasium.registry:
                gymnasium.register(
                    _id_in(family, task),
                    entry_point="reskill_sim.gym.task_env:TaskEnv",
                    vector_entry_point="reskill_sim.gym.task_vector_env:TaskVectorEnv",
                    kwargs={"task": task},
                )


def _id_in(family: Family, task: str) -> str:
    return f"reskill/{family.gym_prefix}{task.title().replace('_', '')}-v0"
