"""One simulated robot: consecutive episodes on one monotonic clock.

No ROS in here: sim_node publishes what the robot's sensors say and passes on what it is commanded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array
from reskill_core.commanded_place import CommandedPlace
from reskill_core.errors import SimulationError
from reskill_core.spec import JOINT_POSITION, VELOCITIES, TaskSpec, images_of, vector_of
from reskill_ros.simulation.command_buffer import Command
from reskill_sim.engine.family import NO_SETTINGS
from reskill_sim.engine.interfaces import DescribedRobot, RobotEnv
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.families import get_task

_NS = 1_000_000_000
Pose = tuple[Float64Array, Float64Array]


@dataclass(frozen=True)
class EpisodeResult:
    """Result of one episode; ``ended`` is False if a reset or diverged physics interrupted it."""

    seed: int
    steps: int
    episode_return: float
    success: bool
    ended: bool


@dataclass
class SimulatedRobot:
    """A robot in one environment of a task, its episodes and its clock.

    Attributes:
        task: name of the running task.
        profile: fidelity profile of the simulator.
        variation: randomisation of the task per episode.
        next_seed: seed of the next episode without a given seed.
        settings: settings of the first task that differ from the default; other tasks have their defaults.
        env: environment of the task.
        stamp_ns: time of the current state [ns]: the sum of all control periods and resets, so that no two states
            have the same stamp and none is earlier than the one before.
        episode_id: number of the running episode, from 1.
        step: control steps since the start of the episode.
        results: results of the episodes that are over.
    """

    task: str
    profile: str = "exact"
    variation: Variation = NOMINAL
    next_seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: RobotEnv = field(init=False)
    stamp_ns: int = field(default=0, init=False)
    episode_id: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    results: list[EpisodeResult] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._first_task = self.task
        self.env = self._simulate(self.task)
        self._first_step_s: float | None = None
        self.begin()

    # ------------------------------------------------------------------ what happens

    def begin(self, task: str = "", seed: int | None = None) -> None:
        """Start an episode; one that is still running ends as it is.

        Args:
            task: task to change to; empty keeps the current one.
            seed: its seed; None takes the next one.

        Raises:
            ConfigError: there is no such task.
            SimulationError: the seed is negative.
        """
        if seed is not None and seed < 0:
            raise SimulationError(f"a seed is a non-negative integer, got {seed}")
        if task and task != self.task:
            self.env = self._simulate(task)
            self.task = task
        if self.episode_id and not self.over:
            self._note_result(ended=False)
        self.seed = self.next_seed if seed is None else seed
        self.next_seed = self.seed + 1
        self._observation = self.env.reset([self.seed])
        self.episode_id += 1
        self.step = 0
        self.stamp_ns += self.period_ns
        self.reward = self.episode_return = 0.0
        self.success = self.terminated = self.truncated = self.diverged = False
        self.valid = True

    def advance(self, command: Command, interfered: bool = False) -> None:
        """Execute a command for one control period.

        A state from which the physics breaks down is kept, and the episode is not valid from then on.

        Args:
            command: what to do.
            interfered: it is not the answer to the current state: the episode must not be learnt from.

        Raises:
            SimulationError: the episode is over.
        """
        if self.over:
            raise SimulationError("the episode is over; reset the simulation to start the next one")
        if self._first_step_s is None:
            self._first_step_s = time.monotonic()
        result = self.env.step(self._action(command))
        self._observation = result.observation
        self.stamp_ns += self.period_ns
        self.diverged = bool(result.diverged[0])
        self.step += not self.diverged
        self.valid = self.valid and not interfered and not self.diverged
        self.reward = float(result.reward[0])
        self.episode_return += self.reward
        self.success = bool(result.success[0])
        self.terminated = bool(result.terminated[0])
        self.truncated = bool(result.truncated[0])
        if self.over:
            self._note_result(ended=not self.diverged)

    # ------------------------------------------------------------------ state

    @property
    def spec(self) -> TaskSpec:
        """Task specification."""
        return self.env.spec

    @property
    def period_ns(self) -> int:
        """Duration of one control step [ns]."""
        return round(self.spec.control_period_s * _NS)

    @property
    def over(self) -> bool:
        """Whether the running episode has ended."""
        return self.terminated or self.truncated or self.diverged

    @property
    def state(self) -> Float64Array:
        """(S,) complete state of the environment."""
        return self.env.state()[0]

    @property
    def joints(self) -> tuple[tuple[str, ...], Float64Array, Float64Array]:
        """Names, positions [m or rad] and velocities [m/s or rad/s] of all joints."""
        return self.env.joint_names, self.env.joint_positions(), self.env.joint_velocities()

    @property
    def poses(self) -> Mapping[str, Pose]:
        """Perceived position [m] and quaternion (scalar first) of each frame of the task, the goal among them."""
        frame, names = self.env.perceived_frame, self.spec.obs.frames
        return {name: (frame.frame_pos_w[0, i], frame.frame_quat_wxyz[0, i]) for i, name in enumerate(names)}

    @property
    def readings(self) -> Mapping[str, Float64Array]:
        """Values of each named term of the observation, in the unit of the term."""
        vector = vector_of(self._observation)[0]
        return {term.name: vector[self.spec.obs.slice(term.name)] for term in self.spec.obs.named}

    @property
    def images(self) -> Mapping[str, NDArray[np.uint8]]:
        """Newest frame (H, W, C) of each image of the observation."""
        return {name: frames[0, -1] for name, frames in images_of(self._observation).items()}

    @property
    def finished(self) -> list[EpisodeResult]:
        """Results of the episodes that ended regularly."""
        return [result for result in self.results if result.ended]

    def summary(self) -> dict[str, Any]:
        """Success, return and rate over the finished episodes, and every episode."""
        finished = self.finished
        elapsed_s = 0.0 if self._first_step_s is None else time.monotonic() - self._first_step_s
        return {
            "task": self.task,
            "episodes": len(finished),
            "success_rate": float(np.mean([result.success for result in finished])) if finished else None,
            "mean_return": float(np.mean([result.episode_return for result in finished])) if finished else None,
            "steps_per_s": sum(result.steps for result in self.results) / elapsed_s if elapsed_s else None,
            "results": [asdict(result) for result in self.results],
        }

    def describe(self) -> str:
        """:meth:`summary` of at least one finished episode as one line."""
        summary = self.summary()
        return (
            f"{summary['episodes']} episodes of {self.task}: success {summary['success_rate']:.0%}, "
            f"mean return {summary['mean_return']:.1f}, {summary['steps_per_s']:.0f} control steps/s"
        )

    def description(self, root: str) -> str:
        """URDF of the robot, from a root link of that name, the world's frame; empty if the family has none."""
        return self.env.robot_description(root) if isinstance(self.env, DescribedRobot) else ""

    # ------------------------------------------------------------------ internals

    def _simulate(self, task: str) -> RobotEnv:
        made = get_task(task, self.variation, self.settings if task == self._first_task else NO_SETTINGS)
        return made.family.make_robot(made, self.profile)

    def _action(self, command: Command) -> NDArray[np.float32]:
        """Convert a command to an action (1, A); components without a setpoint do not move."""
        spec, places = self.spec, self._places(command)
        values = np.zeros(spec.action.dim)
        for index, component in enumerate(spec.action.components):
            setpoint = command.get(component.name)
            if component.quantity == JOINT_POSITION:
                values[index] = places[index] if setpoint is None else setpoint.value
            elif setpoint is not None and setpoint.is_place and component.quantity in VELOCITIES:
                values[index] = (setpoint.value - places[index]) / spec.control_period_s
            elif setpoint is not None:
                values[index] = setpoint.value
        return spec.action.from_command(values[None])

    def _places(self, command: Command) -> Sequence[float]:
        """Return the position of each component for which the command depends on it."""
        still = JOINT_POSITION in self.spec.action.quantities and len(command) < self.spec.action.dim
        if still or any(setpoint.is_place for setpoint in command.values()):
            return CommandedPlace(self.spec).read(vector_of(self._observation)[0])
        return ()

    def _note_result(self, ended: bool) -> None:
        self.results.append(EpisodeResult(self.seed, self.step, self.episode_return, self.success, ended))
