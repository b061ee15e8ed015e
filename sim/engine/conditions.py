"""Conditions of an episode: what the variation draws for it, from its seed or with its scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.seeding import episode_rng
from reskill_sim.engine.rows import RowLayout
from reskill_sim.engine.task import SimulatedTask


class Conditions:
    """Conditions of episodes of a task; the noise of perception is drawn by the perception.

    Args:
        task: the task, with its variation.
        layout: layout of the state rows.

    Attributes:
        dim: number W of parameters that are not always nominal.
    """

    def __init__(self, task: SimulatedTask, layout: RowLayout) -> None:
        self._variation, self._layout = task.variation, layout
        self.dim = len(task.variation.spans)

    def draw(self, rows: Float64Array, seeds: Sequence[int], strengths: Float64Array) -> None:
        """Draw delays, speeds, their limits, lags and where fingers start into state rows (n, S).

        Args:
            rows: the rows.
            seeds: seeds of the n episodes.
            strengths: (n,) strengths of the variation.
        """
        layout = self._layout
        for row, seed, strength in zip(rows, seeds, strengths.tolist(), strict=True):
            variation = self._variation.of_episode(int(seed), strength)
            bounds = (variation.perception_delay, variation.action_delay)
            if any(high for _, high in bounds):
                rng = episode_rng(int(seed), "delay")
                row[layout.delays] = [rng.integers(low, high + 1) for low, high in bounds]
            if row[layout.speed].size:
                row[layout.speed] = episode_rng(int(seed), "speed").uniform(*variation.speed)
            if row[layout.speed_limit].size:
                row[layout.speed_limit] = episode_rng(int(seed), "speed_limit").uniform(*variation.speed_limit)
            if row[layout.lag].size:
                row[layout.lag] = episode_rng(int(seed), "lag").uniform(*variation.lag)
            if row[layout.finger_start].size:
                row[layout.finger_start] = episode_rng(int(seed), "fingers").uniform(*variation.finger_start)

    def parameters(self, row: Float64Array, noise_scale: float) -> Float64Array:
        """(W,) parameters of the episode in a row (S,), each in [-1, 1].

        See :meth:`reskill_core.environment.Privileged.world_parameters`.

        Args:
            row: state of the episode.
            noise_scale: standard deviation of the noise of perception [m].
        """
        layout = self._layout
        if not self.dim:
            return np.zeros(0)
        perception_delay, action_delay = row[layout.delays]
        values = {
            **vars(self._variation.draw_world(int(row[layout.scene][0]))),
            "perception_noise": noise_scale,
            "perception_delay": perception_delay,
            "action_delay": action_delay,
            "speed": row[layout.speed][0] if row[layout.speed].size else 1.0,
            "speed_limit": row[layout.speed_limit][0] if row[layout.speed_limit].size else 1.0,
            "lag": row[layout.lag][0] if row[layout.lag].size else 0.0,
            "finger_start": row[layout.finger_start][0] if row[layout.finger_start].size else 0.0,
        }
        return self._variation.normalised(values)
