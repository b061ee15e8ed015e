"""Tasks of the Fetch by name. A new one is one file in this folder and one line here, or an entry point elsewhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from reskill_core.plugins import Registry

if TYPE_CHECKING:
    from reskill_sim.engine.variation import Variation
    from reskill_sim.fetch.tasks.base import FetchTask

TASKS = Registry(
    "reskill.fetch_tasks",
    "task",
    {
        "block": "reskill_sim.fetch.tasks.block:BlockTask",
        "hook": "reskill_sim.fetch.tasks.hook:HookTask",
        "slippery_push": "reskill_sim.fetch.tasks.slippery_push:SlipperyPushTask",
        "clean_up": "reskill_sim.fetch.tasks.clean_up:CleanUpTask",
        "pyramid_stack": "reskill_sim.fetch.tasks.pyramid_stack:PyramidStackTask",
        "complex_hook": "reskill_sim.fetch.tasks.complex_hook:ComplexHookTask",
        "complex_hook_held_out": "reskill_sim.fetch.tasks.complex_hook:ComplexHookHeldOutTask",
    },
)


@cache
def get_task(name: str, variation: Variation | None = None) -> FetchTask:
    """The task of that name, in a world that varies.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    task: type[FetchTask] = TASKS.get(name)
    return task() if variation is None else task(variation)


__all__ = ["TASKS", "get_task"]
