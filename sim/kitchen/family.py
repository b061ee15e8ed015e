"""Kitchen family: a Franka arm in a kitchen, of gymnasium-robotics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED, NO_SETTINGS, BenchLoad
from reskill_sim.engine.mujoco_family import MujocoFamily
from reskill_sim.kitchen.constants import FINGER_JOINTS, JOINT_NAMES
from reskill_sim.kitchen.profiles import PROFILES
from reskill_sim.kitchen.subtasks import SUBTASKS

if TYPE_CHECKING:
    from reskill_sim.engine.imported_data import ImportedData
    from reskill_sim.engine.task import Task
    from reskill_sim.engine.variation import Variation
    from reskill_sim.kitchen.demonstrators import Demonstrator
    from reskill_sim.kitchen.task import KitchenTask

_START = "all episodes start in the same state"
_MEASUREMENT = (
    "measurements are as inexact as in the installed environment; their noise has a factor, the setting noise"
)
# Fields of a variation that mean nothing here, and why.
_REFUSED = {
    "size": "the kettle is a mesh of one size",
    "spawn": _START,
    "finger_start": _START,
    "perception_noise": _MEASUREMENT,
    "perception_bias": _MEASUREMENT,
    "perception_delay": "the whole state is measured at once",
}


class KitchenFamily(MujocoFamily):
    """Tasks of a Franka arm in a kitchen, simulated by MuJoCo."""

    name = "kitchen"
    gym_prefix = "Franka"
    tasks = ("kitchen",)
    profiles = tuple(PROFILES)
    learning_profile = "fast"
    joint_names = JOINT_NAMES
    gripper_joints = FINGER_JOINTS
    metric_titles = {"subtasks": "subtasks", **{name: name.replace("_", " ") for name in SUBTASKS}}  # noqa: RUF012

    # MuJoCo and the modules that need it are imported on demand, so that listing names is fast.

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> KitchenTask:
        """Create the task; its settings are those of ``KitchenSettings``.

        Raises:
            ConfigError: settings are unknown or out of range, or the variation has no meaning here; the message gives
                the reason.
        """
        from reskill_sim.engine.variation import NOMINAL
        from reskill_sim.kitchen.task import KitchenSettings, KitchenTask

        for field, reason in _REFUSED.items():
            if getattr(variation, field) != getattr(NOMINAL, field):
                raise ConfigError(f"the kitchen does not vary {field}: {reason}")
        return KitchenTask(variation, config_from_dict(KitchenSettings, settings, source=f"settings of {name}"))

    def import_data(self, task: Task, path: Path) -> ImportedData:
        """Open a file of D4RL or Minari."""
        from reskill_sim.kitchen.importing import import_data

        return import_data(_own(task), path)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """List the demonstrators: chains of the task's subtasks, and each subtask alone."""
        return ("chain", *SUBTASKS)

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Demonstrator:
        """Create a demonstrator of the task with its settings."""
        from reskill_sim.kitchen.demonstrators import make_demonstrator

        return make_demonstrator(kind, noise_range, num_envs, settings)

    def bench_load(self) -> BenchLoad:
        """Return the load of chains of subtasks, and the installed environment as the reference."""

        def reference(actions: NDArray[Any]) -> Callable[[], None] | None:
            from reskill_sim.kitchen.stock import stock_stepper

            return stock_stepper(actions)

        return BenchLoad("kitchen", "chain", "stock env.step", reference, episodes=40, batch_sizes=(1, 16, 64))

    def measure_fidelity(self, episodes: int) -> Sequence[Mapping[str, Any]]:
        """Measure chains of subtasks in every profile; returns the rows of a table."""
        from reskill_sim.kitchen.fidelity import measure_fidelity

        return measure_fidelity(episodes)


def _own(task: Task) -> KitchenTask:
    from reskill_sim.kitchen.task import KitchenTask

    assert isinstance(task, KitchenTask), f"{task.spec.name} is no task of the kitchen"
    return task


KITCHEN = KitchenFamily()
