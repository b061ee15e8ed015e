"""Walls of many layouts at once, looked up by the numbers of their scenes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reskill_core.arrays import BoolArray, IntArray
from reskill_sim.maze.layouts import Layout

# Layouts that are kept; a batch has fewer, and a layout is quickly drawn again.
_MAX_KEPT = 2**16
# Cells around a layout, which are free: what a camera sees beyond the border.
MARGIN = 4


class WallTable:
    """Walls of layouts, by the numbers of scenes.

    Args:
        size: size of the layouts.
        layout_of: function from the number of a scene to its layout.
    """

    # Numbers of the known scenes, indices that sort them, and the walls of each with the margin around them.
    _scenes: IntArray
    _order: IntArray
    _walls: BoolArray

    def __init__(self, size: int, layout_of: Callable[[int], Layout]) -> None:
        self._layout_of = layout_of
        self._width = size + 2 * MARGIN
        self._clear()

    def at(self, scenes: IntArray, cells: IntArray) -> BoolArray:
        """(n, K) whether cells (n, K, 2) of the layouts of scenes (n,) are walls; those outside are not."""
        slots = self._slots(scenes)[:, None]
        inside = np.clip(cells + MARGIN, 0, self._width - 1)
        return self._walls[slots, inside[..., 0], inside[..., 1]]

    def _slots(self, scenes: IntArray) -> IntArray:
        """(n,) indices of the layouts of scenes, which are drawn if they are new."""
        found = self._lookup(scenes)
        if found is None:
            new = np.setdiff1d(scenes, self._scenes)
            if len(self._walls) + len(new) > _MAX_KEPT:
                self._clear()
                new = np.unique(scenes)
            drawn = [np.pad(self._layout_of(int(scene)).walls, MARGIN) for scene in new]
            self._scenes = np.concatenate([self._scenes, new])
            self._walls = np.concatenate([self._walls, drawn])
            self._order = np.argsort(self._scenes)
            found = self._lookup(scenes)
            assert found is not None
        return found

    def _lookup(self, scenes: IntArray) -> IntArray | None:
        if not len(self._scenes):
            return None
        place = np.searchsorted(self._scenes, scenes, sorter=self._order)
        slots = self._order[np.minimum(place, len(self._order) - 1)]
        return slots if (self._scenes[slots] == scenes).all() else None

    def _clear(self) -> None:
        self._scenes = np.zeros(0, np.int64)
        self._order = np.zeros(0, np.int64)
        self._walls = np.zeros((0, self._width, self._width), np.bool_)
