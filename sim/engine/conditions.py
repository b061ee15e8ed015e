"""Conditions of an episode: what the variation draws for it, from its seed or with its scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.seeding import episode_rng
from reskill_sim.engine.rows import OF_ARMS, RowLayout
from reskill_sim.engine.task import SimulatedTask

# Random stream of each single value that an episode draws of its own.
_STREAMS = {**{name: name for name in OF_ARMS}, "finger_start": "fingers"}


class Conditions:
    """Conditions of episodes of a task; the errors of perception are drawn by the perception.

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
        """Draw delays, arms and where fingers start into state rows (n, S).

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
            for name, stream in _STREAMS.items():
                column = getattr(layout, name)
                if row[column].size:
                    row[column] = episode_rng(int(seed), stream).uniform(*getattr(variation, name))

    def parameters(self, row: Float64Array, perception: Mapping[str, float]) -> Float64Array:
        """(W,) parameters of the episode in a row (S,), each in [-1, 1].

        See :meth:`reskill_core.environment.Privileged.world_parameters`.

        Args:
            row: state of the episode.
            perception: what the perception has drawn for it, by name of the parameter.
        """
        layout = self._layout
        if not self.dim:
            return np.zeros(0)
        perception_delay, action_delay = row[layout.delays]
        values = {
            **vars(self._variation.draw_world(int(row[layout.scene][0]))),
            **perception,
            "perception_delay": perception_delay,
            "action_delay": action_delay,
            **{name: row[getattr(layout, name)].item() for name in _STREAMS if row[getattr(layout, name)].size},
        }
        return self._variation.normalised(values)
