"""Returns to go of the decisions in a replay memory."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from reskill_core.arrays import BoolArray, Float32Array, IntArray

RETURN_TO_GO = "return_to_go"
_PLACES, _ROWS = "running/places", "running/rows"


class ReturnsToGo:
    """Discounted rewards from each decision to the end of its episode, as far as they are known yet.

    For rewards that are never negative this is a lower bound of what the best policy has from there, where the same
    decisions lead to the same states again (Oh et al. 2018, self-imitation learning).

    Args:
        columns: columns of the replay memory: ``features``, ``next_features``, ``reward``, ``discount``, and
            ``return_to_go``, 0 in new rows, into which the returns are written.
    """

    def __init__(self, columns: Mapping[str, Float32Array]) -> None:
        self._columns = columns
        # Rows of the episode that is under way in a place, in order of time.
        self._running: dict[int, deque[int]] = defaultdict(deque)

    def extend(self, rows: IntArray, places: IntArray, ended: BoolArray) -> None:
        """Take decisions into account that were stored in these rows (B,), in order of time for each place.

        Args:
            rows: (B,) rows of the replay memory.
            places: (B,) indices of the environments.
            ended: (B,) whether the episode ended with the decision.
        """
        self._forget(set(rows.tolist()))
        columns = self._columns
        for row, place, is_last in zip(rows.tolist(), places.tolist(), ended.tolist(), strict=True):
            running = self._running[place]
            # After a divergence that had no earlier decision to be marked with, another episode begins unannounced.
            if running and not np.array_equal(columns["next_features"][running[-1]], columns["features"][row]):
                running.clear()
            running.append(row)
            if columns["reward"][row]:
                self._credit(np.array(running))
            if is_last:
                running.clear()

    def _credit(self, rows: IntArray) -> None:
        """Add the reward in the last of these rows to the returns of all."""
        discounts = np.cumprod(self._columns["discount"][rows[:-1]][::-1])[::-1]
        weights = np.append(discounts, np.float32(1.0))
        self._columns[RETURN_TO_GO][rows] += self._columns["reward"][rows[-1]] * weights

    def _forget(self, overwritten: set[int]) -> None:
        for running in self._running.values():
            while running and running[0] in overwritten:
                running.popleft()

    def state(self) -> dict[str, Any]:
        """Return which rows belong to running episodes, for :meth:`restore`; the returns are in the replay memory."""
        pairs = [(place, row) for place, rows in self._running.items() for row in rows]
        places, rows = np.array(pairs, np.int64).reshape(-1, 2).T
        return {_PLACES: places, _ROWS: rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`."""
        self._running.clear()
        for place, row in zip(state[_PLACES].tolist(), state[_ROWS].tolist(), strict=True):
            self._running[place].append(row)
