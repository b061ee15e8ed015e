"""Fetch family: the Fetch robot at a table with objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reskill_core.kinematics import Kinematics
from reskill_sim.engine.family import (
    DEFAULT_NOISE_RANGE,
    MIXED,
    NO_SETTINGS,
    BenchLoad,
)
from reskill_sim.engine.mujoco_family import MujocoFamily
from reskill_sim.fetch.constants import ARM_JOINTS, FINGER_JOINTS, JOINT_NAMES
from reskill_sim.fetch.object_metrics import TITLES
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.tasks import TASKS, get_task

if TYPE_CHECKING:
    from reskill_sim.engine.variation import Variation
    from reskill_sim.fetch.demonstrators import Demonstrator
    from reskill_sim.fetch.tasks.base import FetchTask


class FetchFamily(MujocoFamily):
    """Tasks of the Fetch robot, simulated by MuJoCo."""

    name = "fetch"
    gym_prefix = "Fetch"
    tasks = tuple(TASKS)
    profiles = tuple(PROFILES)
    learning_profile = "fast"
    joint_names = JOINT_NAMES
    gripper_joints = FINGER_JOINTS
    metric_titles = TITLES

    # MuJoCo and the modules that need it are imported on demand, so that listing names is fast.

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> FetchTask:
        """Create a task by name; there are no settings."""
        self.refuse_settings(name, settings)
        return get_task(name, variation)

    def make_kinematics(self) -> Kinematics:
        """Create the forward kinematics of torso and arm."""
        from reskill_sim.fetch.kinematics import GripperKinematics

        return Kinematics(ARM_JOINTS, GripperKinematics(ARM_JOINTS).pose)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """List the names of a task's scripted controllers."""
        from reskill_sim.fetch.demonstrators import CONTROLLERS

        return tuple(CONTROLLERS.get(task, ()))

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Demonstrator:
        """Create a demonstrator of a task."""
        self.refuse_settings(task, settings)
        from reskill_sim.fetch.demonstrators import make_demonstrator

        return make_demonstrator(task, kind, noise_range, num_envs)

    def make_fast_script(self, task: str, num_envs: int = 1, settings: Mapping[str, Any] = NO_SETTINGS) -> Demonstrator:
        """Create the fast script of a task."""
        self.refuse_settings(task, settings)
        from reskill_sim.fetch.demonstrators import make_fast_script

        return make_fast_script(task, num_envs)

    def bench_load(self) -> BenchLoad:
        """Return the load of pick-and-place with a block, and the stock environment as the reference."""

        def reference(actions: NDArray[Any]) -> Callable[[], None] | None:
            from reskill_sim.fetch.stock import stock_stepper

            return stock_stepper(actions)

        return BenchLoad("block", "pick_and_place", "stock env.step", reference)

    def measure_fidelity(self, episodes: int) -> Sequence[Mapping[str, Any]]:
        """Measure every demonstrator in every profile; returns the rows of a table."""
        from reskill_sim.fetch.fidelity import measure_fidelity

        return measure_fidelity(episodes=episodes)


FETCH = FetchFamily()
