"""Demonstrator of mazes: a planner that knows the layout, and a controller that follows its path with noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.environment import Places
from reskill_core.errors import SimulationError
from reskill_core.runtime import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import Observations, TaskSpec, vector_of
from reskill_sim.maze import constants
from reskill_sim.maze.layouts import cell_of, centre
from reskill_sim.maze.tasks import MazeTask

# Distance between the points of a path [m], more than the base moves in a control step.
_SPACING_M = 0.1
# How far the path's corners are moved at random, along each axis [m].
_JITTER_M = 0.2
# The controller heads for the point of the path this far ahead, at a speed from this range [m/s].
_AHEAD_M = 0.6
_SPEED = (4.0, 5.5)
# For bends up to this many points behind that point it brakes, down to this share of the speed.
_PREVIEW = 8
_BEND_SHARE = 0.6
# Correlation of noise between control steps.
_CORRELATION = 0.9


class PathFollower:
    """Policy that follows a shortest path to the goal, at a speed drawn for each episode.

    The noisy action is executed, the noise-free action is the label (``decoded_action``).

    Args:
        task: the task, whose layouts it knows by the seeds of episodes.
        noise_range: lowest and highest noise scale of an episode, in action units (standard deviation per axis).
        num_envs: number of parallel episodes.
    """

    def __init__(self, task: MazeTask, noise_range: tuple[float, float], num_envs: int = 1) -> None:
        if not 0 <= noise_range[0] <= noise_range[1]:
            raise SimulationError(f"noise range must be 0 <= low <= high, got {noise_range}")
        self._task, self._noise_range = task, noise_range
        self._rngs = [np.random.default_rng(0) for _ in range(num_envs)]
        self._scenes = [0] * num_envs
        self._planned = np.zeros(num_envs, np.bool_)
        # Points of each path, the goal repeated at its end, and the index of the one that is headed for.
        self._points = np.zeros((num_envs, 1, 2))
        self._next: IntArray = np.zeros(num_envs, np.int64)
        self._speed = np.zeros(num_envs)
        self._step: IntArray = np.zeros(num_envs, np.int64)
        self._draws = np.zeros((num_envs, task.spec.horizon, 2))
        self._noise = np.zeros((num_envs, 2))
        self.noise_scale = np.zeros(num_envs)

    @property
    def task(self) -> TaskSpec:
        """The demonstrated task."""
        return self._task.spec

    def source(self, place: int = 0) -> str:
        """Return the name of the controller."""
        return "planner"

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start new episodes; everything random follows from their seeds."""
        for place, seed in zip(range(len(self._rngs)) if places is None else places, seeds, strict=True):
            rng = episode_rng(int(seed), "demonstrator")
            self._rngs[place], self._scenes[place] = rng, self._task.draw_scene(int(seed))
            self.noise_scale[place] = rng.uniform(*self._noise_range)
            self._speed[place] = rng.uniform(*_SPEED)
            self._draws[place] = rng.standard_normal(self._draws.shape[1:])
            self._noise[place] = self._draws[place, 0]
            self._planned[place], self._step[place] = False, 0

    def act(self, observations: Observations, places: Places | None = None) -> SkillAction:
        """Answer observations of the episodes in ``places`` (all by default)."""
        chosen = np.arange(len(self._rngs)) if places is None else np.asarray(places)
        obs, vector = self.task.obs, vector_of(observations)
        position = vector[:, obs.slice(constants.POSITION)]
        for at in np.flatnonzero(~self._planned[chosen]):
            self._plan(int(chosen[at]), position[at], vector[at, obs.slice(constants.GOAL_POSITION)][:2])
        clean = self._velocity(chosen, position) / constants.MAX_SPEED
        noise = (self.noise_scale[chosen, None] * self._noise[chosen]).astype(np.float32)
        self._step[chosen] += 1
        # The noise repeats in an episode that runs beyond its horizon.
        draw = self._draws[chosen, self._step[chosen] % self._draws.shape[1]]
        self._noise[chosen] = _CORRELATION * self._noise[chosen] + np.sqrt(1.0 - _CORRELATION**2) * draw
        return SkillAction.demonstrated(self.task.action, clean, noise)

    def _velocity(self, chosen: IntArray, position: Float64Array) -> Float64Array:
        """(n, 2) velocities to command [m/s]."""
        last = self._points.shape[1] - 1
        for _ in range(2):
            near = np.linalg.norm(self._points[chosen, self._next[chosen]] - position, axis=1) < _AHEAD_M
            self._next[chosen] = np.minimum(self._next[chosen] + near, last)
        target = self._points[chosen, self._next[chosen]]
        ahead = target - position
        further = self._points[chosen, np.minimum(self._next[chosen] + _PREVIEW, last)] - target
        lengths = np.linalg.norm(ahead, axis=1) * np.linalg.norm(further, axis=1)
        straightness = np.where(lengths > 0, (ahead * further).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 1.0)
        share = _BEND_SHARE + (1.0 - _BEND_SHARE) * np.clip(straightness, 0.0, 1.0)
        return ahead * (self._speed[chosen] * share / _AHEAD_M)[:, None]

    def _plan(self, place: int, position: Float64Array, goal: Float64Array) -> None:
        """Plan the path from a position (2,) to the goal (2,) [m]."""
        rng = self._rngs[place]
        cells = self._task.layout(self._scenes[place]).shortest_path(cell_of(position), cell_of(goal), rng)
        corners = centre(cells) + rng.uniform(-_JITTER_M, _JITTER_M, cells.shape)
        corners[0], corners[-1] = position, goal
        along = np.concatenate([[0.0], np.linalg.norm(np.diff(corners, axis=0), axis=1).cumsum()])
        at = np.append(np.arange(0.0, along[-1], _SPACING_M), along[-1])
        points = np.stack([np.interp(at, along, corners[:, axis]) for axis in (0, 1)], axis=1)
        if (missing := len(points) - self._points.shape[1]) > 0:
            self._points = np.pad(self._points, ((0, 0), (0, missing), (0, 0)), mode="edge")
        self._points[place, : len(points)], self._points[place, len(points) :] = points, goal
        self._next[place], self._planned[place] = 0, True
