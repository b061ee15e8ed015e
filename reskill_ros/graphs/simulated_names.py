"""Names of what can be simulated, as choices of graph arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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


SIMULATED = simulated_names()
