"""The toy family: a cart on a plane, driven by two joint velocities, with a camera above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array
from reskill_core.environment import Places
from reskill_core.errors import SimulationError
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.runtime.skill_action import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import VECTOR
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED, NO_SETTINGS, REFERENCE_PROFILE, Family
from reskill_sim.engine.step_result import StepResult
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from toy_robot.layout import CAMERA, JOINTS, OBS, REACH

# Row of an environment: cart x, y [m], the same one control step ago, goal x, y [m], step, seed.
ROW = 8
NEAR_M = 0.1


class ReachTask(Task):
    """Drive the cart to the goal."""

    spec = REACH

    @property
    def family(self) -> Family:
        """The toy family."""
        return TOY


class ToyEnv:
    """N carts."""

    def __init__(self, num_envs: int) -> None:
        self.spec, self.num_envs, self.state_dim = REACH, num_envs, ROW
        self.joint_names = JOINTS
        self._rows = np.zeros((num_envs, ROW))
        self._builder = ObservationBuilder(OBS)
        self.reset(range(num_envs))

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> Any:
        """Start episodes; cart and goal follow from the seeds."""
        chosen = range(self.num_envs) if places is None else places
        if len(seeds) != len(chosen):
            raise SimulationError(f"{len(seeds)} seeds for {len(chosen)} environments")
        for place, seed in zip(chosen, seeds, strict=True):
            cart, goal = episode_rng(int(seed), "reset").uniform(-1.0, 1.0, (2, 2))
            self._rows[place] = [*cart, *cart, *goal, 0, seed]
        return self.observation()

    def step(self, actions: NDArray[Any], places: Places | None = None) -> StepResult:
        """Drive."""
        chosen = np.arange(self.num_envs) if places is None else np.asarray(places)
        rows = self._rows[chosen]
        rows[:, 2:4] = rows[:, 0:2]
        rows[:, 0:2] += REACH.action.clip(actions).astype(np.float64) * REACH.control_period_s
        rows[:, 6] += 1
        self._rows[chosen] = rows
        success = np.linalg.norm(rows[:, 0:2] - rows[:, 4:6], axis=1) < NEAR_M
        over = rows[:, 6] >= REACH.horizon
        nothing = np.zeros(len(chosen), dtype=np.bool_)
        return StepResult(self._observe(chosen), success - 1.0, success, success, over & ~success, nothing)

    def observation(self) -> Any:
        """Observations of all carts."""
        return self._observe(np.arange(self.num_envs))

    def state(self, places: Places | None = None) -> Float64Array:
        """(n, S) complete states."""
        return self._rows.copy() if places is None else self._rows[np.asarray(places)]

    def set_state(self, rows: Float64Array, places: Places | None = None) -> None:
        """Inverse of :meth:`state`."""
        self._rows[slice(None) if places is None else np.asarray(places)] = rows

    # What a simulated driver publishes.

    @property
    def frame(self) -> SensorFrame:
        """Sensor values of all carts."""
        return _sensors(self._rows[:, 0:2], self._rows[:, 4:6])

    perceived_frame = frame

    @property
    def step_count(self) -> NDArray[np.int64]:
        """(N,) control steps since the start of each episode."""
        return self._rows[:, 6].astype(np.int64)

    def joint_positions(self, place: int = 0) -> Float64Array:
        """(2,) where a cart is [m]."""
        return self._rows[place, 0:2].copy()

    def joint_velocities(self, place: int = 0) -> Float64Array:
        """(2,) velocity of a cart [m/s]."""
        return (self._rows[place, 0:2] - self._rows[place, 2:4]) / REACH.control_period_s

    def _observe(self, places: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        rows = self._rows[places]
        now, before = (_sensors(rows[:, first : first + 2], rows[:, 4:6]) for first in (0, 2))
        return {VECTOR: self._builder.build(now, before), CAMERA.name: _pictures(rows)}


def _sensors(cart: Float64Array, goal: Float64Array) -> SensorFrame:
    positions = np.zeros((len(cart), 1, 3))
    positions[:, 0, :2] = goal
    return SensorFrame(cart.copy(), positions, np.tile([1.0, 0.0, 0.0, 0.0], (len(cart), 1, 1)))


def _pictures(rows: Float64Array) -> NDArray[np.uint8]:
    """(n, 1, H, W, 3) the cart in red and the goal in green, seen from above."""
    pictures = np.zeros((len(rows), *CAMERA.shape), dtype=np.uint8)
    for channel, first in ((0, 0), (1, 4)):
        x, y = np.clip((rows[:, first : first + 2].T + 2.0) * CAMERA.width / 4.0, 0, CAMERA.width - 1).astype(int)
        pictures[np.arange(len(rows)), 0, y, x, channel] = 255
    return pictures


class Driving:
    """A demonstrator that drives straight to the goal."""

    def __init__(self, noise_range: tuple[float, float], num_envs: int) -> None:
        self.task, self._range = REACH, noise_range
        self.noise_scale = np.zeros(num_envs)
        self._noise = np.zeros((num_envs, REACH.horizon, 2))
        self._step = np.zeros(num_envs, dtype=np.int64)

    def source(self, place: int = 0) -> str:
        """Name of the controller."""
        return "driving"

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes."""
        for place, seed in zip(range(len(self._step)) if places is None else places, seeds, strict=True):
            rng = episode_rng(int(seed), "demonstrator")
            self.noise_scale[place] = rng.uniform(*self._range)
            self._noise[place] = self.noise_scale[place] * rng.standard_normal((REACH.horizon, 2))
            self._step[place] = 0

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Answer observations."""
        chosen = np.arange(len(self._step)) if places is None else np.asarray(places)
        vector = observations[VECTOR]
        label = REACH.action.clip(5.0 * (vector[:, OBS.slice("goal")][:, :2] - vector[:, OBS.slice("cart")]))
        noise = self._noise[chosen, self._step[chosen] % REACH.horizon].astype(np.float32)
        self._step[chosen] += 1
        count = len(chosen)
        return SkillAction(
            action=REACH.action.clip(label + noise),
            decoded_action=label,
            residual=noise,
            residual_weight=np.ones(count, dtype=np.float32),
            latent=np.zeros((count, 0), dtype=np.float32),
            skill_step=np.zeros(count, dtype=np.int64),
        )


class ToyFamily(Family):
    """Carts on a plane."""

    name, gym_prefix, tasks, joint_names = "toy", "Toy", ("toy_reach",), JOINTS

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> ReachTask:
        """The one task there is, without settings."""
        self.refuse_settings(name, settings)
        return ReachTask(variation)

    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> ToyEnv:
        """Carts."""
        self.require_profile(profile)
        return ToyEnv(num_envs)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """The one demonstrator there is."""
        return ("driving",)

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Driving:
        """The demonstrator."""
        return Driving(noise_range, num_envs)


TOY = ToyFamily()
