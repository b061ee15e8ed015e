"""A family of environments as another distribution brings it: a point on a plane, and two wheels without a gripper.

Put its folder on ``PYTHONPATH``, and every process knows the family by the entry point beside this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float64Array
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.observation import ObservationBuilder, SensorFrame
from reskill_core.parameters import parameter
from reskill_core.runtime import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import (
    JOINT_POSITION,
    JOINT_VELOCITY,
    RAW,
    ActionComponent,
    ActionSpec,
    ImageFeature,
    ObsSpec,
    TaskSpec,
    frame_term,
    joint_term,
    named_term,
)
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED, NO_SETTINGS, REFERENCE_PROFILE, Family
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation

PERIOD_S = 0.1
# Half of the square that the point moves in [m].
EXTENT_M = 1.0
_UPRIGHT = (1.0, 0.0, 0.0, 0.0)
_WHEELS = ("left_wheel", "right_wheel")

REACH = TaskSpec(
    name="plane_reach",
    obs=ObsSpec(
        frames=("gripper", "goal"),
        joints=(),
        terms=(
            frame_term("position", "position", "gripper"),
            frame_term("moved", "displacement", "gripper"),
            frame_term("goal", "position", "goal"),
            named_term("battery", 2, "V"),
        ),
        images=(ImageFeature("view", 12, 16, 3, stack=2), ImageFeature("map", 8, 8, 1)),
    ),
    action=ActionSpec(
        (
            ActionComponent("y", "end_effector_velocity_y", "m/s", 0.75),
            ActionComponent("x", "end_effector_velocity_x", "m/s", 1.3),
        )
    ),
    control_period_s=PERIOD_S,
    horizon=12,
)
ROLL = TaskSpec(
    name="plane_roll",
    obs=ObsSpec((), (*_WHEELS, "mast"), (joint_term("wheels", "joint_position", (*_WHEELS, "mast"), "rad"),)),
    action=ActionSpec(
        (
            ActionComponent("left_wheel", JOINT_VELOCITY, "rad/s", 3.1),
            ActionComponent("mast", JOINT_POSITION, "rad", 0.7),
            ActionComponent("right_wheel", JOINT_VELOCITY, "rad/s", 3.3),
            ActionComponent("light", RAW, "1", 11.0),
        )
    ),
    control_period_s=PERIOD_S,
    horizon=12,
)
_SPECS = {spec.name: spec for spec in (REACH, ROLL)}
# Columns of a row: place (3), place before (3), goal (3), light, step.
_WIDTH = 11


@dataclass(frozen=True)
class PlaneSettings:
    """How near to the goal is near enough, and where it is; anywhere by default."""

    reached_m: float = parameter(0.1, low=0.0, high=10.0)
    goal: tuple[float, float] | None = parameter(None, low=-EXTENT_M, high=EXTENT_M)


@dataclass(frozen=True)
class Outcome:
    """What one control step led to."""

    observation: Any
    reward: Float64Array
    success: NDArray[np.bool_]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    diverged: NDArray[np.bool_]

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) whether the episode is over."""
        return self.terminated | self.truncated | self.diverged


class PlaneEnv:
    """N points or pairs of wheels; a row holds all there is to know about one."""

    def __init__(self, spec: TaskSpec, num_envs: int = 1) -> None:
        self.spec, self.num_envs, self.state_dim = spec, num_envs, _WIDTH
        self.joint_names = spec.obs.joints
        self._rows = np.zeros((num_envs, _WIDTH))
        self._builder = ObservationBuilder(spec.obs)
        self._settings = config_from_dict(PlaneSettings, spec.settings)

    @property
    def step_count(self) -> NDArray[np.int64]:
        return self._rows[:, 10].astype(np.int64)

    def reset(self, seeds: Sequence[int], places: Any = None) -> Any:
        for place, seed in zip(range(self.num_envs) if places is None else places, seeds, strict=True):
            rng = episode_rng(int(seed), "reset")
            row = self._rows[place]
            row[:] = 0.0
            row[[0, 1, 6, 7]] = rng.uniform(-EXTENT_M, EXTENT_M, 4)
            row[3:6] = row[:3]
            if self._settings.goal is not None:
                row[6:8] = self._settings.goal
        return self.observation()

    def step(self, actions: NDArray[Any], places: Any = None) -> Outcome:
        chosen = np.arange(self.num_envs) if places is None else np.asarray(places)
        rows = self._rows[chosen]
        rows[:, 3:6] = rows[:, :3]
        for component, command in zip(
            self.spec.action.components, self.spec.action.to_command(self.spec.action.clip(actions)).T, strict=True
        ):
            if component.quantity == RAW:
                rows[:, 9] = command
            elif component.quantity == JOINT_POSITION:
                rows[:, self.spec.obs.joints.index(component.name)] = command
            else:
                axis = ("x", "y", *_WHEELS).index(component.name) % 2
                rows[:, axis] += PERIOD_S * command
        rows[:, 10] += 1
        self._rows[chosen] = rows
        success = np.linalg.norm(rows[:, :2] - rows[:, 6:8], axis=1) < self._settings.reached_m
        over = rows[:, 10] >= self.spec.horizon
        observation = self.observation()
        if places is not None:
            observation = self.spec.obs.observation(*_taken(observation, chosen))
        return Outcome(observation, success.astype(np.float64), success, success, over & ~success, np.zeros_like(over))

    def observation(self) -> Any:
        before = SensorFrame(*_sensed(self._rows[:, 3:6], self._rows, self.spec))
        vector = self._builder.build(self.perceived_frame, before)
        images = {item.name: np.stack([_view(item, row) for row in self._rows]) for item in self.spec.obs.images}
        return self.spec.obs.observation(vector, images)

    @property
    def frame(self) -> SensorFrame:
        return self.perceived_frame

    @property
    def perceived_frame(self) -> SensorFrame:
        return SensorFrame(*_sensed(self._rows[:, :3], self._rows, self.spec))

    def joint_positions(self, place: int = 0) -> Float64Array:
        return self.perceived_frame.joint_pos[place]

    def joint_velocities(self, place: int = 0) -> Float64Array:
        return np.zeros(len(self.joint_names))

    def state(self, places: Any = None) -> Float64Array:
        return self._rows.copy() if places is None else self._rows[np.asarray(places)]

    def set_state(self, rows: Float64Array, places: Any = None) -> None:
        self._rows[list(range(self.num_envs)) if places is None else places] = rows


def _taken(observation: Any, rows: NDArray[np.int64]) -> tuple[Any, dict[str, Any]]:
    if not isinstance(observation, dict):
        return observation[rows], {}
    return observation["vector"][rows], {name: part[rows] for name, part in observation.items()}


def _sensed(places: Float64Array, rows: Float64Array, spec: TaskSpec) -> tuple[Any, ...]:
    count, frames = len(rows), len(spec.obs.frames)
    positions = np.stack([places, rows[:, 6:9]], axis=1)[:, :frames]
    turns = np.tile(_UPRIGHT, (count, frames, 1)).reshape(count, frames, 4)
    battery = np.stack([24.0 - 0.1 * rows[:, 10], 12.0 + rows[:, 0] / 3.0], axis=1)
    named = {term.name: battery for term in spec.obs.named}
    return places[:, : len(spec.obs.joints)], positions, turns, named


def _view(feature: ImageFeature, row: Float64Array) -> NDArray[np.uint8]:
    """(stack, H, W, C) where the point was and is, as brightness; nobody else paints as little."""
    frames = np.zeros(feature.shape, np.uint8)
    for number, place in enumerate((row[:3], row[3:6])[: feature.stack][::-1]):
        shift = 1.0 + np.arange(feature.height * feature.width * feature.channels)
        frames[number] = ((1e3 * place[0] + 7e2 * place[1] + shift) % 251.0).reshape(feature.frame_shape)
    return frames


class PlaneTask(Task):
    """One of the tasks."""

    def __init__(self, spec: TaskSpec, variation: Variation) -> None:
        super().__init__(variation)
        self.spec = spec

    @property
    def family(self) -> Family:
        return PLANE


class Steering:
    """Goes to the goal it sees, looking at the picture as well so that a wrong one would show; noise on top."""

    def __init__(self, task: TaskSpec, noise_range: tuple[float, float], num_envs: int) -> None:
        self.task, self._noise_range = task, noise_range
        self.noise_scale = np.zeros(num_envs)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]

    def reset(self, seeds: Sequence[int], places: Any = None) -> None:
        for place, seed in zip(range(len(self._rngs)) if places is None else places, seeds, strict=True):
            self._rngs[place] = episode_rng(int(seed), "demonstrator")
            self.noise_scale[place] = self._rngs[place].uniform(*self._noise_range)

    def act(self, observations: Any, places: Any = None) -> SkillAction:
        chosen = np.arange(len(self._rngs)) if places is None else np.asarray(places)
        clean = np.zeros((len(chosen), self.task.action.dim))
        if self.task.name == REACH.name:
            vector = observations["vector"]
            wanted = vector[:, self.task.obs.slice("goal")] - vector[:, self.task.obs.slice("position")]
            seen = sum(
                part.reshape(len(part), -1).mean(axis=1) for name, part in observations.items() if name != "vector"
            )
            clean[:] = wanted[:, [1, 0]] + 1e-4 * seen[:, None] + vector[:, -1:] * 1e-3
        else:
            clean[:] = np.sin(observations.sum(axis=1, keepdims=True) + np.arange(1, 5))
        noise = np.stack(
            [self.noise_scale[place] * self._rngs[place].standard_normal(clean.shape[1]) for place in chosen]
        )
        return SkillAction.demonstrated(self.task.action, clean, noise.astype(np.float32))

    def source(self, place: int = 0) -> str:
        return "steering"


class PlaneFamily(Family):
    """Points and wheels on a plane."""

    name = "plane"
    gym_prefix = "Plane"
    tasks = tuple(_SPECS)
    joint_names = (*_WHEELS, "mast")

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> PlaneTask:
        own = config_from_dict(PlaneSettings, settings, source=f"the settings of task {name!r}")
        return PlaneTask(replace(_SPECS[name], settings=config_to_dict(own)), variation)

    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> PlaneEnv:
        self.require_profile(profile)
        return PlaneEnv(task.spec, num_envs)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        return ("steering",)

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Steering:
        return Steering(_SPECS[task], noise_range, num_envs)


PLANE = PlaneFamily()
