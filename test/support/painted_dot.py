"""A family without a simulator: a dot on a line of pixels, which is seen in a picture alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.data import Episode
from reskill_core.environment import Places
from reskill_core.errors import SpecError
from reskill_core.frame_stacks import SteppedFrames
from reskill_core.runtime import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import RAW, VECTOR, ActionComponent, ActionSpec, ImageFeature, ObsSpec, TaskSpec, named_term
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED, NO_SETTINGS, REFERENCE_PROFILE, Family
from reskill_sim.engine.step_result import StepResult
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.evaluation.rollouts import plain_action

WIDTH = 8
VIEW = ImageFeature("view", 1, WIDTH, 1, stack=2)
SPEC = TaskSpec(
    "dot_right",
    ObsSpec((), (), (named_term("clock", 1, "s"),), images=(VIEW,)),
    ActionSpec((ActionComponent("step", RAW, "pixel", 2.0),)),
    control_period_s=0.1,
    horizon=12,
    description="move a dot to the right end",
)


class DotTask(Task):
    """Success is the dot at the right end."""

    spec = SPEC
    hold_steps = 1

    @property
    def family(self) -> Family:
        """The dots."""
        return DOTS

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Where the dot ends up, seen in its picture."""
        return {"end": float(np.argmax(episode.images["view"].array()[-1]))}


class DotEnv:
    """N dots; a row is place, steps, seed and the frame before."""

    spec, state_dim = SPEC, 4

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self._rows = np.zeros((num_envs, self.state_dim))
        self._view = SteppedFrames(VIEW, num_envs)
        self.reset(range(num_envs))

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> dict[str, Any]:
        """Start somewhere in the left half."""
        for place, seed in zip(range(self.num_envs) if places is None else places, seeds, strict=True):
            start = int(episode_rng(int(seed), "reset").integers(WIDTH // 2))
            self._rows[place] = [start, 0, seed, start]
        self._view.reset(painted(self._rows[:, 0] if places is None else self._rows[list(places), 0]), places)
        return self.observation()

    def step(self, actions: Any, places: Places | None = None) -> StepResult:
        """Move by whole pixels."""
        rows = np.arange(self.num_envs) if places is None else np.asarray(places)
        if np.shape(actions) != (len(rows), 1):
            raise SpecError(f"actions have shape {np.shape(actions)}")
        place = self._rows[rows, 0]
        moved = np.clip(place + np.rint(2.0 * SPEC.action.clip(actions)[:, 0]), 0, WIDTH - 1)
        self._rows[rows, 3], self._rows[rows, 0] = place, moved
        self._rows[rows, 1] += 1
        self._view.push(painted(moved), rows)
        success = moved == WIDTH - 1
        truncated = (self._rows[rows, 1] >= SPEC.horizon) & ~success
        observation = {name: part[rows] for name, part in self.observation().items()}
        return StepResult(observation, success - 1.0, success, success, truncated, np.zeros(len(rows), np.bool_))

    def observation(self) -> dict[str, Any]:
        """The clock, and the view itself: who wants to keep it copies it."""
        return {VECTOR: self._rows[:, 1:2] * SPEC.control_period_s, "view": self._view.images}

    def state(self, places: Places | None = None) -> np.ndarray:
        """Rows."""
        return self._rows.copy() if places is None else self._rows[np.asarray(places)]

    def set_state(self, rows: np.ndarray, places: Places | None = None) -> None:
        """Inverse of :meth:`state`."""
        self._rows[slice(None) if places is None else np.asarray(places)] = rows
        self._view.reset(painted(rows[:, 3]), places)
        self._view.push(painted(rows[:, 0]), places)


class Rightwards:
    """Goes right by one pixel as long as it sees the dot."""

    def __init__(self, num_envs: int) -> None:
        self.task = SPEC
        self.noise_scale = np.zeros(num_envs)

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Nothing to start."""

    def act(self, observations: Mapping[str, Any], places: Places | None = None) -> SkillAction:
        """See :class:`reskill_core.policy.Policy`."""
        seen = observations["view"][:, -1].any(axis=(1, 2, 3))
        return plain_action(0.5 * seen[:, None].astype(np.float32))

    def source(self, place: int = 0) -> str:
        """There is one."""
        return "rightwards"


class DotFamily(Family):
    """The dots."""

    name, gym_prefix, tasks = "dots", "", ("dot_right",)

    def make_task(self, name: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> DotTask:
        """The one there is."""
        return DotTask(variation)

    def make_env(
        self,
        task: Task,
        num_envs: int = 1,
        profile: str = REFERENCE_PROFILE,
        threads: int = 0,
        divergence_folder: Path | None = None,
    ) -> DotEnv:
        """Dots."""
        self.require_profile(profile)
        return DotEnv(num_envs)

    def demonstrators(self, task: str) -> tuple[str, ...]:
        """The one there is."""
        return ("rightwards",)

    def make_demonstrator(
        self,
        task: str,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        settings: Mapping[str, Any] = NO_SETTINGS,
    ) -> Rightwards:
        """The one there is."""
        return Rightwards(num_envs)


def painted(places: np.ndarray) -> np.ndarray:
    """(n, 1, W, 1) frames."""
    frames = np.zeros((len(places), 1, WIDTH, 1), np.uint8)
    frames[np.arange(len(places)), 0, places.astype(int)] = 255
    return frames


DOTS = DotFamily()
