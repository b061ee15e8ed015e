"""Environment families: tasks that share a robot and a simulator, and what the rest of the package asks of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from reskill_core.errors import SimulationError, require_choice

# Names are quick to have: what makes environments is imported when it is asked for.
if TYPE_CHECKING:
    from reskill_core.environment import RestorableVectorEnv
    from reskill_core.policy import Policy
    from reskill_sim.engine.interfaces import Demonstrator, Renderer, RobotEnv, Viewer
    from reskill_sim.engine.task import Task
    from reskill_sim.engine.variation import Variation

# The profile that every family has: the most faithful one, and the default of evaluation.
REFERENCE_PROFILE = "exact"
# The kind of demonstrator that draws one of a task's demonstrators for each episode.
MIXED = "mixed"
DEFAULT_NOISE_RANGE = (0.0, 0.15)


@dataclass(frozen=True)
class Kinematics:
    """Forward kinematics of an arm.

    Attributes:
        joints: names of the joints that it needs.
        pose: position (3,) [m] and quaternion (4,), scalar first, of the end effector in the robot's base, from the
            positions of the joints [m or rad].
    """

    joints: tuple[str, ...]
    pose: Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class BenchLoad:
    """What environments are measured by: demonstrations of a task.

    Attributes:
        task: name of the task.
        demonstrator: name of the demonstrator whose actions are taken.
        reference_name: what the environments are measured beside.
        reference: makes a run of it from actions (T, A); None where there is nothing to compare with.
    """

    task: str
    demonstrator: str
    reference_name: str = ""
    reference: Callable[[NDArray[Any]], Callable[[], None] | None] = lambda actions: None


class Family(ABC):
    """Tasks that share a robot and a simulator.

    What is listed below costs no import of the simulator: command lines and graphs ask for names alone.

    Attributes:
        name: name of the family.
        gym_prefix: what the Gymnasium ids of its tasks start with: ``reskill/<prefix><Task>-v0``.
        tasks: names of its tasks, which no other family may use.
        profiles: fidelity profiles; the first is ``REFERENCE_PROFILE``, the most faithful one.
        learning_profile: profile that learners use by default.
        joint_names: joints of the robot as its driver publishes them; empty for what has none.
        metric_titles: what the metrics of its tasks' episodes are called in tables, by name.
        gripper_joints: those of them that the gripper's command moves; empty for what has no gripper.
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
    def make_task(self, name: str, variation: Variation) -> Task:
        """One of the tasks, in a world that varies.

        Raises:
            ConfigError: the family's tasks cannot vary in that way.
        """

    @abstractmethod
    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> RestorableVectorEnv:
        """Environments of a task.

        Args:
            task: one that :meth:`make_task` made.
            num_envs: number N of environments.
            profile: fidelity profile.
            threads: threads that share the environments; 0 steps them in the calling thread.
            divergence_folder: where states in which the simulation broke down are kept; None keeps none.

        Raises:
            ConfigError: there is no such profile.
            SimulationError: the number of environments or threads is out of range.
        """

    def make_robot(self, task: Task, profile: str = REFERENCE_PROFILE) -> RobotEnv:
        """One environment of a task, to stand behind the topics of a real robot.

        Raises:
            ConfigError: there is no such profile.
            SimulationError: the family's environments have no sensors that could be read.
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
        """Forward kinematics of the arm, for robots that publish joint states but no pose of the end effector.

        Raises:
            SimulationError: the family has none.
        """
        raise SimulationError(f"family {self.name!r} has no forward kinematics")

    def require_profile(self, profile: str) -> None:
        """Check the name of a profile.

        Raises:
            ConfigError: there is no such profile; the message lists those there are.
        """
        require_choice("simulator profile", profile, self.profiles)

    # ------------------------------------------------------------------ scripted policies

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """Names of the demonstrators of a task; none by default."""
        return ()

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
    ) -> Demonstrator:
        """The demonstrator of a task.

        Args:
            task: name of the task.
            kind: one of :meth:`demonstrators`, or ``MIXED``.
            noise_range: lowest and highest scale of the noise, in action units.
            num_envs: number of places.

        Raises:
            ConfigError: there is none of that name.
        """
        raise SimulationError(f"the tasks of family {self.name!r} have no demonstrators")

    def make_fast_script(self, task: str, num_envs: int = 1) -> Policy:
        """The fastest script for a task, about the ceiling for a learner.

        Raises:
            ConfigError: there is none for that task; the message lists the tasks that have one.
        """
        raise SimulationError(f"the tasks of family {self.name!r} have no fast scripts")

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
