"""Pictures of whole mazes from above, with the way so far and what the camera sees, without a graphics library."""

from __future__ import annotations

from types import TracebackType

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.engine.interfaces import Image
from reskill_sim.engine.rows import RowLayout
from reskill_sim.maze import constants
from reskill_sim.maze.planar_base import PlanarBase
from reskill_sim.maze.tasks import MazeTask

_BLANK_RGB = (255, 255, 255)
_TRAIL_RGB = (230, 230, 230)
# Smallest radius of a mark [pixel], and share of the goal's colour within the distance at which it counts as reached.
_MIN_MARK = 3.0
_REACH_SHARE = 0.25


class TopView:
    """Renderer of states of a maze task's simulator; the maze is a square at the left, x to the right and y up.

    Consecutive states of an episode leave a trail. If the task observes pictures, and there is room at the right, the
    newest one is there.

    Args:
        task: the task.
        width: image width [pixels].
        height: image height [pixels].
    """

    def __init__(self, task: MazeTask, width: int, height: int) -> None:
        self._task, self._size = task, (height, width)
        self._base = PlanarBase(task)
        self._layout = RowLayout(self._base, task)
        self._edge = min(width, height)
        self._zoom = (width - self._edge) // constants.PIXELS if task.spec.obs.images else 0
        # Positions of pixels of the maze [m]; rows run downwards.
        self._x = (np.arange(self._edge) + 0.5) * task.settings.size / self._edge
        self._y = self._x[::-1]
        # Seed and step of the last state, its position, and the maze with the trail up to it.
        self._last = (-1, -1)
        self._position = np.zeros(2)
        self._canvas: Image = np.zeros((self._edge, self._edge, 3), np.uint8)

    def render(self, state_row: Float64Array) -> Image:
        """Paint the state of one environment (:meth:`Simulator.state`) as an image (height, width, 3)."""
        layout = self._layout
        seed, step, scene = (int(state_row[column][0]) for column in (layout.seed, layout.step, layout.scene))
        position, goal = state_row[layout.qpos], state_row[layout.goal][:2]
        if self._last == (seed, step - 1):
            self._draw_trail(position)
        else:
            self._canvas = self._background(scene, goal)
        self._last, self._position = (seed, step), position.copy()
        picture = np.full((*self._size, 3), _BLANK_RGB, np.uint8)
        maze = picture[: self._edge, : self._edge]
        maze[:] = self._canvas
        self._mix(maze, goal, self._mark_m, constants.GOAL_RGB)
        self._mix(maze, position, self._mark_m, constants.BASE_RGB)
        if self._zoom:
            seen = self._base.view(position, goal, scene)
            inset = np.kron(seen, np.ones((self._zoom, self._zoom, 1), np.uint8))
            picture[: len(inset), -len(inset) :] = inset
        return picture

    @property
    def _mark_m(self) -> float:
        """Radius of marks [m]."""
        return max(constants.MARK_M, _MIN_MARK * self._task.settings.size / self._edge)

    def _background(self, scene: int, goal: Float64Array) -> Image:
        """(edge, edge, 3) the maze, and where its goal counts as reached."""
        x, y = self._x.astype(np.int64)[None, :], self._y.astype(np.int64)[:, None]
        share = ((x + y) % 2 * constants.ODD_SHARE)[..., None]
        maze = np.rint(share * constants.WALL_RGB + (1.0 - share) * constants.FLOOR_RGB).astype(np.uint8)
        self._mix(maze, goal, self._task.settings.goal_radius_m, constants.GOAL_RGB, _REACH_SHARE)
        maze[self._task.layout(scene).walls[x, y]] = constants.WALL_RGB
        return maze

    def _draw_trail(self, position: Float64Array) -> None:
        """Add a line from the last position to this one."""
        count = 2 + int(np.abs(position - self._position).max() * self._edge / self._task.settings.size)
        points = np.linspace(self._position, position, count) * self._edge / self._task.settings.size
        columns, rows = np.clip(points.astype(np.int64), 0, self._edge - 1).T
        self._canvas[self._edge - 1 - rows, columns] = _TRAIL_RGB

    def _mix(
        self, maze: Image, centre: Float64Array, radius_m: float, rgb: tuple[int, int, int], share: float = 1.0
    ) -> None:
        """Mix a colour into a disc."""
        inside = np.hypot(self._x[None, :] - centre[0], self._y[:, None] - centre[1]) < radius_m
        maze[inside] = np.rint((1.0 - share) * maze[inside] + share * np.array(rgb)).astype(np.uint8)

    def close(self) -> None:
        """There is nothing to release."""

    def __enter__(self) -> TopView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
