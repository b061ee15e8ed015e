"""Layouts of mazes: square grids of free cells and walls, drawn by a seed, whose free cells are all connected.

Walls are added one by one, preferably where few are yet, until they cover a quarter of the grid's inside. A wall has
one door, with a frame of four cells around it. Later walls may close earlier doors, so finally openings are made until
every free cell can be reached from every other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, Float64Array, IntArray

MIN_SIZE, MAX_SIZE = 8, 100
MAX_LAYOUT_SEED = 2**31 - 1
_COVERED = 0.25
_LENGTH = (0.3, 0.5)
_MIN_LENGTH = 3
# Preference for places with few walls: probability of a place is proportional to exp(-20 · share of walls around it).
_SPARSENESS = 20.0
_NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1))

Cell = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Layout:
    """Layout of a maze; cell (i, j) is the square from (i, j) to (i + 1, j + 1) [m].

    Attributes:
        walls: (size, size) whether a cell is a wall, read-only; those of the border are.
    """

    walls: BoolArray

    @property
    def size(self) -> int:
        """Number of cells along an edge, border included."""
        return len(self.walls)

    @cached_property
    def free(self) -> IntArray:
        """(F, 2) free cells."""
        return np.argwhere(~self.walls)

    def is_free(self, cell: Cell) -> bool:
        """Whether a cell exists and is free."""
        return all(0 <= index < self.size for index in cell) and not self.walls[cell]

    def distances(self, cell: Cell) -> IntArray:
        """(size, size) steps from each cell to a free cell, over edges of free cells; -1 in walls."""
        return _distances(self.walls, cell)

    def shortest_path(self, start: Cell, goal: Cell, rng: np.random.Generator) -> IntArray:
        """(L, 2) cells of a shortest path between free cells, ends included; one of the shortest is drawn."""
        distance = self.distances(goal)
        path = [start]
        while path[-1] != goal:
            x, y = path[-1]
            closer = [(x + dx, y + dy) for dx, dy in _NEIGHBOURS if distance[x + dx, y + dy] == distance[path[-1]] - 1]
            path.append(closer[rng.integers(len(closer))])
        return np.array(path)


def centre(cells: IntArray) -> Float64Array:
    """(..., 2) positions of the centres of cells (..., 2) [m]."""
    return cells.astype(np.float64) + 0.5


def cell_of(position: Float64Array) -> Cell:
    """Return the cell at a position (2,) [m]."""
    x, y = np.floor(position[:2]).astype(int).tolist()
    return x, y


@lru_cache(maxsize=4096)
def draw_layout(seed: int, size: int) -> Layout:
    """Draw the layout with this seed and size."""
    rng = np.random.default_rng([seed, size])
    walls = np.zeros((size, size), np.bool_)
    walls[[0, -1], :] = walls[:, [0, -1]] = True
    inside = walls[1:-1, 1:-1]
    while inside.mean() < _COVERED:
        # A view with the wall's direction as its second axis.
        _add_wall(walls if rng.random() < 0.5 else walls.T, rng)
    _connect(walls, rng)
    walls.flags.writeable = False
    return Layout(walls)


def _add_wall(walls: BoolArray, rng: np.random.Generator) -> None:
    """Add a wall along the second axis, with a door."""
    size = len(walls)
    length = min(max(_MIN_LENGTH, round(rng.uniform(*_LENGTH) * size)), size - 2)
    # Share of walls in the three columns around each possible place (x, first y).
    total = np.zeros((size + 1, size + 1))
    total[1:, 1:] = walls.cumsum(0).cumsum(1)
    columns = total[3:] - total[:-3]
    share = (columns[:, length:] - columns[:, :-length])[:, 1:-1] / (3 * length)
    weight = np.exp(-_SPARSENESS * share)
    place = rng.choice(weight.size, p=weight.ravel() / weight.sum())
    x, y = 1 + place // weight.shape[1], 1 + place % weight.shape[1]
    walls[x, y : y + length] = True
    door = y + int(rng.integers(1, length - 1))
    walls[x - 1 : x + 2, door - 1] = walls[x - 1 : x + 2, door + 1] = True
    walls[max(x - 1, 1) : min(x + 2, size - 1), door] = False


def _connect(walls: BoolArray, rng: np.random.Generator) -> None:
    """Open walls between regions that are not connected, and close regions for which one opening is not enough."""
    regions = _regions(walls)
    while regions.max() > 0:
        inside = np.argwhere(walls[1:-1, 1:-1]) + 1
        around = np.stack([regions[inside[:, 0] + dx, inside[:, 1] + dy] for dx, dy in _NEIGHBOURS], axis=1)
        highest = around.max(axis=1)
        lowest = np.where(around < 0, highest[:, None], around).min(axis=1)
        between = np.flatnonzero(lowest < highest)
        if len(between):
            walls[tuple(inside[rng.choice(between)])] = False
        else:
            walls[regions == np.bincount(regions[regions >= 0]).argmin()] = True
        regions = _regions(walls)


def _regions(walls: BoolArray) -> IntArray:
    """(size, size) number of the connected region of each free cell, from 0; -1 in walls."""
    regions = np.full(walls.shape, -1)
    number = 0
    for x, y in np.argwhere(~walls).tolist():
        if regions[x, y] < 0:
            regions[_distances(walls, (x, y)) >= 0] = number
            number += 1
    return regions


def _distances(walls: NDArray[np.bool_], cell: Cell) -> IntArray:
    """Breadth-first search from a free cell."""
    blocked = walls.tolist()
    steps = [[-1] * len(walls) for _ in blocked]
    steps[cell[0]][cell[1]] = 0
    open_cells = deque([cell])
    while open_cells:
        x, y = open_cells.popleft()
        further = steps[x][y] + 1
        for dx, dy in _NEIGHBOURS:
            if not blocked[x + dx][y + dy] and steps[x + dx][y + dy] < 0:
                steps[x + dx][y + dy] = further
                open_cells.append((x + dx, y + dy))
    return np.array(steps)
