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

from reskill_core.intervals import rate
from reskill_sim.collect import CollectConfig, collect
from reskill_sim.demonstrators import make_demonstrator
from reskill_sim.episodes import run_episodes
from reskill_sim.profiles import PROFILES
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import Task, get_task

BATCH_SIZES = (1, 8, 32, 64)
_STEPS = 40
_ROUNDS = 5


def measure_stepping(batch_sizes: tuple[int, ...] = BATCH_SIZES, rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Control steps per CPU-second, ours and stock ``env.step``, on scripted pick-and-place, taken in turns.

    Returns:
        One row per profile and batch size: ``steps_per_cpu_s`` and ``ratio_to_stock``, medians over the rounds.
    """
    actions = _pick_and_place_actions(max(batch_sizes))
    stock = _StockStepper(actions[:, 0])
    steppers = {
        (profile, size): _BatchStepper(profile, size, actions[:, :size]) for profile in PROFILES for size in batch_sizes
    }
    stock_rates: list[float] = []
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in steppers}
    for _ in range(rounds):
        stock_rates.append(_steps_per_cpu_s(stock.run, _STEPS))
        for key, stepper in steppers.items():
            rates[key].append(_steps_per_cpu_s(stepper.run, _STEPS * key[1]))
    return [
        _rate_row("stock env.step", 1, stock_rates, stock_rates),
        *(_rate_row(profile, size, rates[profile, size], stock_rates) for profile, size in steppers),
    ]


def _rate_row(name: str, size: int, rates: list[float], stock_rates: list[float]) -> dict[str, Any]:
    ratios = [rate / stock_rate for rate, stock_rate in zip(rates, stock_rates, strict=True)]
    return {
        "simulator": name,
        "envs": size,
        "steps_per_cpu_s": statistics.median(rates),
        "ratio_to_stock": statistics.median(ratios),
    }


def measure_fidelity(episodes: int = 64) -> list[dict[str, Any]]:
    """How far the other profiles are from ``exact`` on the block task.

    Returns:
        One row per profile: root mean square distance of gripper and block from the exact ones under the same
        scripted pick-and-place actions [mm], and the demonstrators' success rate with interval.
    """
    task = get_task("block")
    actions = _pick_and_place_actions(episodes)
    exact = _paths(task, "exact", actions)
    rows = []
    for profile in PROFILES:
        away = np.linalg.norm(_paths(task, profile, actions) - exact, axis=-1)
        gripper_mm, block_mm = 1e3 * np.sqrt(np.mean(away**2, axis=(0, 1)))
        demonstrator = make_demonstrator("block", num_envs=episodes)
        demonstrated = run_episodes(Simulator(task, episodes, profile), demonstrator, range(4 * episodes))
        success = rate([episode.success for episode in demonstrated])
        rows.append(
            {"profile": profile, "gripper_mm": gripper_mm, "block_mm": block_mm, "demonstrator_success": str(success)}
        )
    return rows


def _paths(task: Task, profile: str, actions: np.ndarray) -> np.ndarray:
    """(T, N, 2, 3) positions of gripper and block under given actions [m]."""
    simulator = Simulator(task, actions.shape[1], profile)
    simulator.reset(range(simulator.num_envs))
    columns = [task.spec.obs.slice(name) for name in ("gripper_position", "block_position")]
    observations = [simulator.step(action).observation for action in actions]
    return np.stack([np.stack([o[:, column] for column in columns], axis=1) for o in observations])


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
    def __init__(self, profile: str, num_envs: int, actions: np.ndarray) -> None:
        self._simulator = Simulator(get_task("block"), num_envs, profile)
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
