"""Names of what can be simulated, as choices of graph arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SimulatedNames:
    """Names provided by the simulator.

    Attributes:
        tasks: all tasks.
        demonstrators: demonstrators of each task that has any.
        profiles: fidelity profiles.
    """

    tasks: tuple[str, ...] = ()
    demonstrators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()


def simulated_names() -> SimulatedNames:
    """Return the names of the installed simulator; empty without one."""
    try:
        from reskill_sim.families import families, task_names
    except ModuleNotFoundError:
        # A robot's computer has no simulator; functions that need one raise their own error.
        return SimulatedNames()
    every = {task: family.demonstrators(task) for family in families() for task in family.tasks}
    demonstrators = {task: names for task, names in every.items() if names}
    profiles = dict.fromkeys(profile for family in families() for profile in family.profiles)
    return SimulatedNames(task_names(), demonstrators, tuple(profiles))


SIMULATED = simulated_names()
