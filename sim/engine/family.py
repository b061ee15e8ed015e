"""Interface of environment families: tasks that share a robot and a simulator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reskill_core.errors import ConfigError, SimulationError, require_choice
from reskill_core.kinematics import Kinematics

# Modules of simulators are imported on demand, so that listing names is fast.
if TYPE_CHECKING:
    from reskill_core.environment import RestorableVectorEnv
    from reskill_core.policy import Policy
    from reskill_sim.engine.imported_data import ImportedData
    from reskill_sim.engine.interfaces import Demonstrator, Renderer, RobotEnv, Viewer
    from reskill_sim.engine.task import Task
    from reskill_sim.engine.variation import Variation

# The profile that every family has: the one of highest fidelity, and the default of evaluations.
REFERENCE_PROFILE = "exact"
# Kind of demonstrator that draws one of a task's demonstrators for each episode.
MIXED = "mixed"
DEFAULT_NOISE_RANGE = (0.0, 0.15)
# Settings of a task that differ from the default.
NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class BenchLoad:
    """Load for benchmarks of environments: demonstrations of a task.

    Attributes:
        task: name of the task.
        demonstrator: name of the demonstrator that provides the actions.
        reference_name: name of the reference environment.
        reference: creates a run of the reference from actions (T, A); None if it is not available.
        episodes: number of demonstrations to collect.
        batch_sizes: numbers of parallel environments.
    """

    task: str
    demonstrator: str
    reference_name: str = ""
    reference: Callable[[NDArray[Any]], Callable[[], None] | None] = lambda actions: None
    episodes: int = 400
    batch_sizes: tuple[int, ...] = (1, 4, 16, 64, 256)


class Family(ABC):
    """Family of tasks that share a robot and a simulator.

    The attributes must not require importing the simulator, because command lines and graphs only need names.

    Attributes:
        name: name of the family.
        gym_prefix: prefix in the Gymnasium ids of its tasks, ``reskill/<prefix><Task>-v0``.
        tasks: names of its tasks, unique among all families.
        profiles: fidelity profiles; the first is ``REFERENCE_PROFILE``, the one of highest fidelity.
        learning_profile: default profile for training.
        joint_names: the driver's names of the robot's joints; may be empty.
        gripper_joints: joints moved by the gripper command; empty without a gripper.
        metric_titles: titles of the tasks' metrics in tables, by name.
    """

    name: str
    gym_prefix: str
    tasks: tuple[str, ...]
    profiles: tuple[str, ...] = (REFERENCE_PROFILE,)
    learning_profile: str = REFERENCE_PROFILE
    joint_names: tuple[str, ...] = ()
    gripper_joints: tuple[str, ...] = ()
    metric_titles: Mapping[str, str] = MappingProxyType({})

    # ------------------------------------------------------------------ tasks and their environments

    @abstractmethod
    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> Task:
        """Create a task with a variation.

        Args:
            name: one of ``tasks``.
            variation: randomisation of physics, perception and latency.
            settings: settings of the task that differ from the default, to be checked by a dataclass of the family
                (:func:`reskill_core.config.config_from_dict`). The task's specification has all of them, converted by
                :func:`~reskill_core.config.config_to_dict`, so that data sets and checkpoints recreate the task. They
                determine the world of an episode and what counts as success, but not the layouts of observations and
                actions.

        Raises:
            ConfigError: the family does not support the variation, or the task does not have these settings.
        """

    def refuse_settings(self, name: str, settings: Mapping[str, Any]) -> None:
        """Check that a task without settings is given none.

        Raises:
            ConfigError: there are some.
        """
        if settings:
            raise ConfigError(f"task {name!r} has no settings, got {', '.join(map(str, settings))}")

    @abstractmethod
    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> RestorableVectorEnv:
        """Create environments of a task.

        Args:
            task: a task of :meth:`make_task`.
            num_envs: number N of environments.
            profile: fidelity profile.
            threads: threads that share the environments; 0 steps them in the calling thread.
            divergence_folder: folder for states before a divergence; None saves none.

        Raises:
            ConfigError: there is no such profile.
            SimulationError: the number of environments or threads is out of range.
        """

    def make_robot(self, task: Task, profile: str = REFERENCE_PROFILE) -> RobotEnv:
        """Create one environment of a task as a simulated robot, with the topics of a real one.

        Raises:
            ConfigError: there is no such profile.
            SimulationError: the family's environments do not provide sensor readings.
        """
        from reskill_sim.engine.interfaces import RobotEnv

        environment = self.make_env(task, profile=profile)
        if not isinstance(environment, RobotEnv):
            raise SimulationError(
                f"the environments of family {self.name!r} cannot stand behind a robot's topics: they offer no "
                "sensors and joints (reskill_sim.engine.interfaces.RobotEnv)"
            )
        return environment

    def make_kinematics(self) -> Kinematics:
        """Create forward kinematics of the arm, for robots that publish joint states but no end-effector pose.

        Raises:
            SimulationError: the family has none.
        """
        raise SimulationError(f"family {self.name!r} has no forward kinematics")

    def require_profile(self, profile: str) -> None:
        """Check the name of a profile.

        Raises:
            ConfigError: there is no such profile; the message lists the valid names.
        """
        require_choice("simulator profile", profile, self.profiles)

    # ------------------------------------------------------------------ scripted policies

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """List the names of a task's demonstrators; none by default."""
        return ()

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Demonstrator:
        """Create a demonstrator of a task.

        Args:
            task: name of the task.
            kind: one of :meth:`demonstrators`, or ``MIXED``.
            noise_range: lowest and highest noise scale, in action units.
            num_envs: number of places.
            settings: settings of the task, as for :meth:`make_task`.

        Raises:
            ConfigError: there is none of that name, or the task does not have these settings.
        """
        raise SimulationError(f"the tasks of family {self.name!r} have no demonstrators")

    def make_fast_script(self, task: str, num_envs: int = 1, settings: Mapping[str, Any] = NO_SETTINGS) -> Policy:
        """The fastest script for a task with these settings, about the ceiling for a learner.

        Raises:
            ConfigError: there is none for that task; the message lists the tasks that have one.
        """
        raise SimulationError(f"the tasks of family {self.name!r} have no fast scripts")

    # ------------------------------------------------------------------ data of other programs

    def import_data(self, task: Task, path: Path) -> ImportedData:
        """Open a file of another program with episodes of a task.

        Raises:
            DataError: it is missing, damaged, or in no format that the family reads.
            SimulationError: the family reads none.
        """
        raise SimulationError(f"family {self.name!r} reads no data of other programs")

    # ------------------------------------------------------------------ pictures

    def make_renderer(
        self, task: Task, width: int = 480, height: int = 360, profile: str = REFERENCE_PROFILE
    ) -> Renderer:
        """A renderer of pictures of a size [pixels], of states that come from a profile.

        Raises:
            SimulationError: the family cannot be drawn, or there is no way to draw off-screen here.
        """
        raise SimulationError(f"the tasks of family {self.name!r} cannot be drawn")

    def make_viewer(self, task: Task, profile: str = REFERENCE_PROFILE) -> Viewer:
        """A window, for states that come from a profile.

        Raises:
            SimulationError: the family has none, or there is no display.
        """
        raise SimulationError(f"the tasks of family {self.name!r} have no viewer")

    # ------------------------------------------------------------------ benchmarks

    def bench_load(self) -> BenchLoad | None:
        """What its environments are measured by; None leaves it out of benchmarks."""
        return None

    def measure_fidelity(self, episodes: int) -> Sequence[Mapping[str, Any]]:
        """Rows of a table of how far its profiles are from the reference, by episodes of each demonstrator; or none."""
        return ()
