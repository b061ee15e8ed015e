"""Stock Fetch environment of gymnasium-robotics, as a reference for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import gymnasium_robotics
import numpy as np

from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.stock_version import stock_fault
from reskill_sim.fetch.tasks import get_task


def stock_stepper(actions: np.ndarray) -> Callable[[], None] | None:
    """Return a run of actions (T, A) in the stock environment, from our block's start; None if unavailable."""
    if stock_fault():
        return None
    gymnasium.register_envs(gymnasium_robotics)
    env: Any = gymnasium.make("FetchPickAndPlace-v4").unwrapped
    simulator = Simulator(get_task("block"))
    simulator.reset([0])
    block_qpos = simulator.qpos_of(simulator.state()[0])[-7:]

    def run() -> None:
        env.reset(seed=0)
        env.data.joint("object0:joint").qpos = block_qpos
        for action in actions:
            env.step(action)

    return run
