"""Replay memory of decisions, for off-policy algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, IntArray
from reskill_core.errors import CheckpointError

Batch = dict[str, Float32Array]


class Replay:
    """Ring buffer of rows with named float32 columns; when it is full, the oldest rows are replaced.

    Args:
        capacity: maximum number of rows.
        widths: width of each column; a column of width 0 holds one number per row.
    """

    def __init__(self, capacity: int, widths: Mapping[str, int]) -> None:
        self._capacity = capacity
        # Pages of memory are only taken once they are written to.
        self._columns = {
            name: np.zeros((capacity, *([width] if width else [])), np.float32) for name, width in widths.items()
        }
        self._size = self._next = 0

    def __len__(self) -> int:
        return self._size

    @property
    def columns(self) -> Mapping[str, Float32Array]:
        """All columns with ``capacity`` rows, of which the first ``len`` are filled; not copies."""
        return self._columns

    def add(self, rows: Mapping[str, NDArray[Any]]) -> IntArray:
        """Add rows, the same number in every column, in order.

        Returns:
            Where they are now; of more rows than there is room for, only the newest remain.
        """
        count = len(next(iter(rows.values())))
        kept = min(count, self._capacity)
        places = (self._next + count - kept + np.arange(kept)) % self._capacity
        for name, column in self._columns.items():
            column[places] = rows[name][count - kept :]
        self._next = (self._next + count) % self._capacity
        self._size = min(self._size + count, self._capacity)
        return places

    def sample(self, rng: np.random.Generator, count: int) -> Batch:
        """Draw rows uniformly with replacement."""
        return self.rows(rng.integers(self._size, size=count))

    def rows(self, places: IntArray) -> Batch:
        """Copy rows; row 0 is the oldest until the memory is full."""
        return {name: column.take(places, axis=0) for name, column in self._columns.items()}

    def state(self) -> dict[str, Any]:
        """Return the filled part of the memory, for :meth:`restore`."""
        return {**{name: column[: self._size].copy() for name, column in self._columns.items()}, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`.

        Raises:
            CheckpointError: a column is missing, has another width or more rows than there is room for.
        """
        for name, column in self._columns.items():
            rows = state.get(name)
            if rows is None or rows.shape[1:] != column.shape[1:] or len(rows) > self._capacity:
                found = "missing" if rows is None else f"of shape {rows.shape}"
                raise CheckpointError(
                    f"replay column {name} is {found}, expected up to {self._capacity} rows of shape {column.shape[1:]}"
                )
            column[: len(rows)] = rows
            self._size = len(rows)
        self._next = int(state["next"])
