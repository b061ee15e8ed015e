"""Tasks of the Fetch by name. A new task is one file in this folder and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from reskill_core.errors import require_choice

if TYPE_CHECKING:
    from reskill_sim.engine.variation import Variation
    from reskill_sim.fetch.tasks.base import FetchTask

# Module and class of each task; imported on demand.
TASKS = {
    "block": ("block", "BlockTask"),
    "hook": ("hook", "HookTask"),
    "slippery_push": ("slippery_push", "SlipperyPushTask"),
    "clean_up": ("clean_up", "CleanUpTask"),
    "pyramid_stack": ("pyramid_stack", "PyramidStackTask"),
    "complex_hook": ("complex_hook", "ComplexHookTask"),
    "complex_hook_held_out": ("complex_hook", "ComplexHookHeldOutTask"),
}


@cache
def get_task(name: str, variation: Variation | None = None) -> FetchTask:
    """Return the task with this name and variation.

    Raises:
        ConfigError: there is no such task; the message lists the valid names.
    """
    require_choice("task", name, tuple(TASKS))
    module, cls = TASKS[name]
    task: type[FetchTask] = getattr(import_module(f"{__name__}.{module}"), cls)
    return task() if variation is None else task(variation)


__all__ = ["TASKS", "get_task"]
