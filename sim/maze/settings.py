"""Settings of the maze tasks: the layout, and where episodes start and lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import IntArray
from reskill_core.parameters import parameter
from reskill_sim.maze.layouts import MAX_LAYOUT_SEED, MAX_SIZE, MIN_SIZE, Cell, draw_layout


@dataclass(frozen=True)
class MazeSettings:
    """Settings of a maze task.

    Attributes:
        layout_seed: seed of the layout; None draws a new layout for every episode.
        size: cells along an edge of the maze, border included; a cell has 1 m.
        start: cell (x, y) where episodes start; None draws a free one.
        goal: cell (x, y) of the goal; None draws a free one.
        fixed: whether start and goal are drawn once for a layout, with a shortest path of 0.6 to 0.9 ``size`` cells
            between them, instead of for every episode.
        goal_radius_m: distance from the goal's centre at which it counts as reached [m].
    """

    layout_seed: int | None = parameter(None, low=0, high=MAX_LAYOUT_SEED)
    size: int = parameter(20, low=MIN_SIZE, high=MAX_SIZE)
    start: tuple[int, int] | None = parameter(None, low=0, high=MAX_SIZE - 1)
    goal: tuple[int, int] | None = parameter(None, low=0, high=MAX_SIZE - 1)
    fixed: bool = False
    goal_radius_m: float = parameter(1.0, low=0.2, high=2.0)

    def violations(self) -> list[str]:
        """Check that the chosen cells are free, which needs a layout."""
        chosen = {name: cell for name, cell in (("start", self.start), ("goal", self.goal)) if cell is not None}
        if not chosen:
            return []
        if self.layout_seed is None:
            return [f"{name}: needs a layout_seed, because a layout may have a wall there" for name in chosen]
        if self.start == self.goal:
            return [f"goal: must be another cell than start, got {self.goal}"]
        layout = draw_layout(self.layout_seed, self.size)
        return [
            f"{name}: {cell} is no free cell of layout {self.layout_seed} of size {self.size}; "
            f"the nearest is {_nearest_free(layout.free, cell)}"
            for name, cell in chosen.items()
            if not layout.is_free(cell)
        ]


def _nearest_free(free: IntArray, cell: Cell) -> Cell:
    x, y = free[np.abs(free - cell).sum(axis=1).argmin()].tolist()
    return x, y
