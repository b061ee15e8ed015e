"""Interactive viewer window of the simulator."""

from __future__ import annotations

import os
import sys
import threading

import mujoco.viewer
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_sim.engine.rendering import PosedScene
from reskill_sim.engine.task import SimulatedTask


class MujocoViewer:
    """Viewer of states of a task's simulator; the camera can be moved, but not the simulation.

    Args:
        task: the task.
        profile: fidelity profile of the states.

    Raises:
        SimulationError: there is no display.
    """

    def __init__(self, task: SimulatedTask, profile: str = "exact") -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SimulationError("cannot open a window: there is no display; run headless, or set DISPLAY")
        self._posed = PosedScene(task, profile)
        self._open()

    def show(self, state_row: NDArray[np.float64]) -> None:
        """Show one environment's state, see :meth:`Simulator.state`; no effect once the window is closed."""
        if not self._window.is_running():
            return
        with self._window.lock():
            other_scene = self._posed.pose(state_row)
        if other_scene:
            self.close()
            self._open()
        self._window.sync()

    def _open(self) -> None:
        before = set(threading.enumerate())
        self._window = mujoco.viewer.launch_passive(
            self._posed.model, self._posed.data, show_left_ui=False, show_right_ui=False
        )
        self._threads = set(threading.enumerate()) - before

    def close(self) -> None:
        """Close the window."""
        self._window.close()
        # The process would crash if it ended while the window's thread is still drawing.
        for thread in self._threads:
            thread.join()
