"""Registry of environment families, and of the tasks of all families by name.

A family is added by one line here, or by another distribution through an entry point::

    [project.entry-points."reskill.families"]
    toy = "toy_robot.family:TOY"

Listing names does not import a simulator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from reskill_core.errors import ConfigError, require_choice
from reskill_core.plugins import PluginError, Registry

if TYPE_CHECKING:
    from reskill_sim.engine.family import Family
    from reskill_sim.engine.task import Task
    from reskill_sim.engine.variation import Variation

# Each names an instance of :class:`~reskill_sim.engine.family.Family`.
FAMILIES = Registry(
    "reskill.families",
    "environment family",
    {
        "fetch": "reskill_sim.fetch.family:FETCH",
        "kitchen": "reskill_sim.kitchen.family:KITCHEN",
        "maze": "reskill_sim.maze.family:MAZE",
    },
)


def families() -> tuple[Family, ...]:
    """Return all families, this package's own first."""
    return tuple(dict.fromkeys(_families_by_task().values()))


def task_names() -> tuple[str, ...]:
    """List the names of the tasks of all families.

    Raises:
        PluginError: two families use one name.
    """
    return tuple(_families_by_task())


def family_of(task: str) -> Family:
    """Return the family of a task.

    Raises:
        ConfigError: there is no such task; the message lists the valid names.
    """
    require_choice("task", task, task_names())
    return _families_by_task()[task]


def get_task(name: str, variation: Variation | None = None, settings: Mapping[str, Any] | None = None) -> Task:
    """Return the task with this name and, if given, this variation and these settings.

    Raises:
        ConfigError: there is no such task, the message lists the valid names; or the task does not support the
            variation, or does not have these settings.
    """
    try:
        text = json.dumps(dict(settings or {}), sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the settings of task {name!r} cannot be stored: {error}") from error
    return _make_task(name, variation, text)


@cache
def _make_task(name: str, variation: Variation | None, settings: str) -> Task:
    from reskill_sim.engine.variation import NOMINAL

    return family_of(name).make_task(name, NOMINAL if variation is None else variation, json.loads(settings))


@cache
def _families_by_task() -> dict[str, Family]:
    families: dict[str, Family] = {}
    for name in FAMILIES:
        family: Family = FAMILIES.get(name)
        for task in family.tasks:
            if (other := families.setdefault(task, family)) is not family:
                raise PluginError(f"task {task!r} is one of family {other.name!r} and of {name!r}; rename one of them")
    return families
