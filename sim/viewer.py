"""A window that shows what the simulator does."""

from __future__ import annotations

import os
import sys
import threading

import mujoco
import mujoco.viewer
import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import SimulationError
from reskill_sim.simulator import Simulator
from reskill_sim.tasks.base import Task


class Viewer:
    """Shows states of a task's simulator in a window, which can be looked around in but not interfered with.

    Args:
        task: the task.
        profile: fidelity profile the states come from.

    Raises:
        SimulationError: there is no display.
    """

    def __init__(self, task: Task, profile: str = "exact") -> None:
        if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise SimulationError("cannot open a window: there is no display; run headless, or set DISPLAY")
        self._simulator = Simulator(task, profile=profile)
        self._model = self._simulator.model
        self._data = mujoco.MjData(self._model)
        before = set(threading.enumerate())
        self._window = mujoco.viewer.launch_passive(self._model, self._data, show_left_ui=False, show_right_ui=False)
        self._threads = set(threading.enumerate()) - before

    def show(self, state_row: NDArray[np.float64]) -> None:
        """Show one environment's state, see :meth:`Simulator.state`; nothing happens once the window is closed."""
        if not self._window.is_running():
            return
        with self._window.lock():
            self._data.qpos[:] = self._simulator.qpos_of(state_row)
            site = self._model.site("target0").id
            body = self._model.site_bodyid[site]
            self._model.site_pos[site] = self._simulator.goal_of(state_row) - self._model.body_pos[body]
            mujoco.mj_forward(self._model, self._data)
        self._window.sync()

    def close(self) -> None:
        """Close the window."""
        self._window.close()
        # Ending the process while the window's own thread still draws would crash it.
        for thread in self._threads:
            thread.join()
