"""Installed FrankaKitchen environment, as a reference for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import gymnasium_robotics
import numpy as np

from reskill_sim.engine.stock_version import stock_fault


def stock_stepper(actions: np.ndarray) -> Callable[[], None] | None:
    """Return a run of actions (T, 9) in the installed environment; None if unavailable."""
    if stock_fault():
        return None
    gymnasium.register_envs(gymnasium_robotics)
    env: Any = gymnasium.make("FrankaKitchen-v1").unwrapped

    def run() -> None:
        env.reset(seed=0)
        for action in actions:
            env.step(action)

    return run
