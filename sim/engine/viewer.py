"""A window that shows what the simulator does."""

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
    """Shows states of a task's simulator in a window, which can be looked around in but not interfered with.

    Args:
        task: the task.
        profile: fidelity profile the states come from.

    Raises:
        SimulationError: there is no display.
    """

    def __init__(self, task: SimulatedTask, profile: str = "exact") -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SimulationError("cannot open a window: there is no display; run headless, or set DISPLAY")
        self._posed = PosedScene(task, profile)
        self._open()

    def show(self, state_row: NDArray[np.float64]) -> None:
        """Show one environment's state, see :meth:`Simulator.state`; nothing happens once the window is closed."""
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
        # Ending the process while the window's own thread still draws would crash it.
        for thread in self._threads:
            thread.join()
