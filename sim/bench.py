"""How fast the simulator and the demonstrators are, beside the stock Fetch environment in the same run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import gymnasium_robotics
import numpy as np

from reskill_sim.collect import CollectConfig, collect
from reskill_sim.demonstrators import make_demonstrator
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import get_task

BATCH_SIZES = (1, 8, 32, 64)
_STEPS = 40
_ROUNDS = 5


def measure_stepping(batch_sizes: tuple[int, ...] = BATCH_SIZES, rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Control steps per CPU-second, ours and stock ``env.step``, on scripted pick-and-place, taken in turns.

    Returns:
        One row per batch size: ``steps_per_cpu_s`` and ``ratio_to_stock``, medians over the rounds.
    """
    actions = _pick_and_place_actions(max(batch_sizes))
    stock = _StockStepper(actions[:, 0])
    steppers = {size: _BatchStepper(size, actions[:, :size]) for size in batch_sizes}
    rates: dict[int, list[float]] = {size: [] for size in batch_sizes}
    ratios: dict[int, list[float]] = {size: [] for size in batch_sizes}
    stock_rates = []
    for _ in range(rounds):
        stock_rate = _steps_per_cpu_s(stock.run, _STEPS)
        stock_rates.append(stock_rate)
        for size, stepper in steppers.items():
            rate = _steps_per_cpu_s(stepper.run, _STEPS * size)
            rates[size].append(rate)
            ratios[size].append(rate / stock_rate)
    rows = [{"simulator": "stock env.step", "envs": 1, "steps_per_cpu_s": statistics.median(stock_rates)}]
    rows[0]["ratio_to_stock"] = 1.0
    for size in batch_sizes:
        rows.append(
            {
                "simulator": "exact",
                "envs": size,
                "steps_per_cpu_s": statistics.median(rates[size]),
                "ratio_to_stock": statistics.median(ratios[size]),
            }
        )
    return rows


def measure_collecting(episodes: int = 400, workers: int = 0) -> dict[str, float]:
    """Demonstrations per second, starting the workers included."""
    with tempfile.TemporaryDirectory() as folder:
        config = CollectConfig(episodes=episodes, out=folder, workers=workers, episodes_per_shard=50)
        report = collect(config, show_progress=False)
    return {
        "workers": config.num_workers,
        "demonstrations_per_s": report.num_new / report.duration_s,
        "steps_per_s": report.num_steps / report.duration_s,
    }


def _pick_and_place_actions(num_envs: int) -> np.ndarray:
    """(T, N, A) actions of the demonstrator, so that grasps and lifts are part of the load."""
    task = get_task("block")
    simulator = Simulator(task, num_envs)
    demonstrator = make_demonstrator("block", "pick_and_place", num_envs=num_envs)
    observation = simulator.reset(range(num_envs))
    demonstrator.reset(range(num_envs))
    actions = []
    for _ in range(_STEPS):
        actions.append(demonstrator.act(observation).action)
        observation = simulator.step(actions[-1]).observation
    return np.stack(actions)


class _BatchStepper:
    def __init__(self, num_envs: int, actions: np.ndarray) -> None:
        self._simulator = Simulator(get_task("block"), num_envs)
        self._actions = actions

    def run(self) -> None:
        self._simulator.reset(range(self._simulator.num_envs))
        for action in self._actions:
            self._simulator.step(action)


class _StockStepper:
    """The stock environment, its block where ours starts."""

    def __init__(self, actions: np.ndarray) -> None:
        gymnasium.register_envs(gymnasium_robotics)
        self._env: Any = gymnasium.make("FetchPickAndPlace-v4").unwrapped
        self._actions = actions
        simulator = Simulator(get_task("block"))
        simulator.reset([0])
        self._block_qpos = simulator.qpos_of(simulator.state()[0])[-7:]

    def run(self) -> None:
        self._env.reset(seed=0)
        self._env.data.joint("object0:joint").qpos = self._block_qpos
        for action in self._actions:
            self._env.step(action)


def _steps_per_cpu_s(run: Callable[[], None], steps: int) -> float:
    start = time.process_time()
    run()
    return steps / (time.process_time() - start)
