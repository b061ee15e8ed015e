"""Tasks by name. A new task is one file in this folder and one line here."""

from __future__ import annotations

from functools import cache

from reskill_core.errors import require_choice
from reskill_sim.tasks.base import EpisodeStart, Task
from reskill_sim.tasks.block import BlockTask
from reskill_sim.tasks.clean_up import CleanUpTask
from reskill_sim.tasks.complex_hook import ComplexHookHeldOutTask, ComplexHookTask
from reskill_sim.tasks.hook import HookTask
from reskill_sim.tasks.pyramid_stack import PyramidStackTask
from reskill_sim.tasks.slippery_push import SlipperyPushTask
from reskill_sim.variation import NOMINAL, Variation

TASKS: dict[str, type[Task]] = {
    "block": BlockTask,
    "hook": HookTask,
    "slippery_push": SlipperyPushTask,
    "clean_up": CleanUpTask,
    "pyramid_stack": PyramidStackTask,
    "complex_hook": ComplexHookTask,
    "complex_hook_held_out": ComplexHookHeldOutTask,
}


@cache
def get_task(name: str, variation: Variation = NOMINAL) -> Task:
    """The task of that name, in a world that varies.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    require_choice("task", name, tuple(TASKS))
    return TASKS[name](variation)


__all__ = ["TASKS", "EpisodeStart", "Task", "get_task"]
