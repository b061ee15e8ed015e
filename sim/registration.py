"""The tasks as Gymnasium ids, ``reskill/FetchCleanUp-v0`` for the task ``clean_up``.

Importing ``reskill_sim`` registers them. What an id stands for is imported when it is made, so that a process that
wants something else of this package does not pay for MuJoCo.
"""

from __future__ import annotations

import ast
from pathlib import Path

import gymnasium


def env_id(task: str) -> str:
    """Gymnasium's id of a task."""
    return f"reskill/Fetch{task.title().replace('_', '')}-v0"


def register_envs() -> None:
    """Register every task that is not registered yet.

    No ``max_episode_steps``: the horizon is the task's, and the environment itself truncates there. Gymnasium would
    put a second clock around it.
    """
    for task in _task_names():
        if env_id(task) not in gymnasium.registry:
            gymnasium.register(
                env_id(task),
                entry_point="reskill_sim.gym_envs:FetchEnv",
                vector_entry_point="reskill_sim.gym_envs:FetchVectorEnv",
                kwargs={"task": task},
            )


def _task_names() -> list[str]:
    """Names in the registry of tasks, read from its source: importing it would import MuJoCo."""
    source = Path(__file__).parent / "tasks" / "__init__.py"
    for statement in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "TASKS":
            assert isinstance(statement.value, ast.Dict), f"{source}: TASKS is not a literal dictionary"
            return [ast.literal_eval(key) for key in statement.value.keys if key is not None]
    raise AssertionError(f"{source} assigns no TASKS")
