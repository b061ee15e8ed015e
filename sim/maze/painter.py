"""Pictures of what a camera above the base sees of a maze, painted in batches.

A pixel has the mean colour of the square that it shows: exactly for walls and floor, which are made of squares
themselves, and to a few grey levels for the marks of base and goal. So motion by less than a pixel is seen: two frames
show how fast the base is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, Float64Array, IntArray
from reskill_sim.maze import constants
from reskill_sim.maze.wall_table import WallTable

_PIXEL_M = constants.VIEW_M / constants.PIXELS
# Left edges of the pixels, relative to the base [m].
_EDGES = (np.arange(constants.PIXELS) * _PIXEL_M - constants.VIEW_M / 2.0).astype(np.float32)
_CENTRES = _EDGES + np.float32(_PIXEL_M / 2.0)
# Pictures painted at once, whose intermediate results fit into a core's cache.
_CHUNK = 32
# Cells along an edge of the view, which may begin anywhere in its first cell.
_CELLS = int(np.ceil(constants.VIEW_M)) + 1
_IN_VIEW = np.argwhere(np.ones((_CELLS, _CELLS)))


class Painter:
    """Painter of views around bases.

    Args:
        walls: walls of the layouts.
    """

    def __init__(self, walls: WallTable) -> None:
        self._walls = walls

    def paint(self, base: Float64Array, goal: Float64Array, scenes: IntArray) -> NDArray[np.uint8]:
        """Paint pictures (n, 32, 32, 3): x to the right, y up, the base in the middle.

        Args:
            base: (n, 2) positions of the bases [m].
            goal: (n, 2) positions of the goals [m].
            scenes: (n,) numbers of the scenes.
        """
        picture = np.empty((len(base), constants.PIXELS, constants.PIXELS, 3), np.uint8)
        for start in range(0, len(base), _CHUNK):
            some = slice(start, start + _CHUNK)
            self._paint(picture[some], base[some], goal[some], scenes[some])
        return picture

    def _paint(self, picture: NDArray[np.uint8], base: Float64Array, goal: Float64Array, scenes: IntArray) -> None:
        first = np.floor(base - constants.VIEW_M / 2.0).astype(np.int64)
        shade = self._shades(first, scenes)
        across, up = (_overlaps(base[:, axis] - first[:, axis]) for axis in (0, 1))
        # Rows of a picture run downwards.
        level = (up @ (across @ shade).transpose(0, 2, 1))[:, ::-1]
        for channel, (floor, wall) in enumerate(zip(constants.FLOOR_RGB, constants.WALL_RGB, strict=True)):
            picture[..., channel] = level * np.float32(wall - floor) + np.float32(floor + 0.5)
        _mark_goals(picture, (goal - base).astype(np.float32))
        middle = picture[:, _MIDDLE, _MIDDLE]
        middle[:] = middle * (1.0 - _BASE_SHARE) + (_BASE_SHARE * _BASE_RGB + np.float32(0.5))

    def _shades(self, first: IntArray, scenes: IntArray) -> Float32Array:
        """(n, K, K) brightness of the cells in view, from 0, an even cell of the floor, to 1, a wall.

        Args:
            first: (n, 2) cells at the left lower corners of the views.
            scenes: (n,) numbers of the scenes.
        """
        cells = first[:, None] + _IN_VIEW
        odd = (cells.sum(axis=2) % 2).astype(np.float32) * np.float32(constants.ODD_SHARE)
        shade = np.where(self._walls.at(scenes, cells), np.float32(1.0), odd)
        return shade.reshape(len(first), _CELLS, _CELLS)


def _overlaps(position: Float64Array) -> Float32Array:
    """(n, 32, K) shares of the cells in view in each pixel along an axis, for positions (n,) within the view [m]."""
    left = position.astype(np.float32)[:, None, None] + _EDGES[:, None]
    cell = np.arange(_CELLS, dtype=np.float32)
    covered = np.minimum(left + np.float32(_PIXEL_M), cell + 1.0) - np.maximum(left, cell)
    return np.maximum(covered, 0.0) * np.float32(1.0 / _PIXEL_M)


def _disc(x: Float32Array, y: Float32Array) -> Float32Array:
    """Share of a pixel that a mark covers whose centre is x and y away [m]; its edge is taken to be straight."""
    return np.clip((constants.MARK_M - np.hypot(x, y)) / np.float32(_PIXEL_M) + 0.5, 0.0, 1.0)


def _mark_goals(picture: NDArray[np.uint8], goal: Float32Array) -> None:
    """Mark goals (n, 2) relative to the bases [m] where they are in view."""
    seen = np.flatnonzero((np.abs(goal) < constants.VIEW_M / 2.0 + constants.MARK_M + _PIXEL_M).all(axis=1))
    if not len(seen):
        return
    x, y = goal[seen, 0, None, None], goal[seen, 1, None, None]
    share = _disc(_CENTRES[None, None, :] - x, _CENTRES[None, ::-1, None] - y)[..., None]
    picture[seen] = (picture[seen] * (1.0 - share) + share * _GOAL_RGB + 0.5).astype(np.uint8)


_GOAL_RGB, _BASE_RGB = (np.array(rgb, np.float32) for rgb in (constants.GOAL_RGB, constants.BASE_RGB))
# The base is always in the middle, so its mark is, too.
_MIDDLE = slice(constants.PIXELS // 2 - 3, constants.PIXELS // 2 + 3)
_BASE_SHARE = _disc(_CENTRES[None, _MIDDLE], _CENTRES[_MIDDLE, None])[..., None]
