"""How fast the simulator and the demonstrators are, beside the stock Fetch environment in the same run."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import gymnasium_robotics
import mujoco
import numpy as np

from reskill_core.data import Episode
from reskill_core.progress import progress_bar
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation.rollouts import outcome_of
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.fetch.demonstrators import CONTROLLERS, make_demonstrator
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.fetch.tasks.base import Task

BATCH_SIZES = (1, 4, 16, 64, 256)
# The first MuJoCo that the Fetch environments of gymnasium-robotics 1.4 fail with: it has other types for joints.
_STOCK_BELOW = (3, 12)
_STEPS = 40
_ROUNDS = 5
_BATCH = 64
# Of actions, in action units: as demonstrations are collected, and more.
_NOISE_SCALES = (0.05, 0.2)
# Further away than anything can be thrown in an episode [m].
_FAR_M = 20.0
_VARIED = Variation(friction=(0.5, 1.5), mass=(0.5, 2.0), size=(0.8, 1.2), perception_delay=(0, 2), action_delay=(0, 2))
# Episodes whose paths are compared.
_PATHS = 64
# Profiles that are compared, and a yardstick: the exact one from starts a millimetre off, as far as the paths of coarse
# profiles are from its own. It tells how much of a difference in success that alone makes.
_COMPARED = {
    "exact": ("exact", NOMINAL),
    "exact, 1 mm off": ("exact", Variation(spawn=1.01)),
    **{name: (name, NOMINAL) for name in PROFILES if name != "exact"},
}


def stock_fault() -> str:
    """Why the stock Fetch environments do not run here; empty if they do."""
    if tuple(map(int, mujoco.__version__.split(".")[:2])) < _STOCK_BELOW:
        return ""
    return f"the Fetch environments of gymnasium-robotics fail with MuJoCo from 3.12 on, this is {mujoco.__version__}"


def measure_stepping(batch_sizes: tuple[int, ...] = BATCH_SIZES, rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Control steps per CPU-second, ours and stock ``env.step``, on scripted pick-and-place, taken in turns.

    Returns:
        One row per profile and batch size: ``steps_per_cpu_s`` and ``ratio_to_stock``, medians over the rounds. Where
        the stock environment does not run there is neither its row nor a ratio to it.
    """
    actions = _pick_and_place_actions(max(batch_sizes))
    stock = None if stock_fault() else _StockStepper(actions[:, 0])
    steppers = {
        (profile, size): _BatchStepper(profile, size, actions[:, :size]) for profile in PROFILES for size in batch_sizes
    }
    stock_rates: list[float] = []
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in steppers}
    for _ in range(rounds):
        if stock is not None:
            stock_rates.append(_steps_per_cpu_s(stock.run, _STEPS))
        for key, stepper in steppers.items():
            rates[key].append(_steps_per_cpu_s(stepper.run, _STEPS * key[1]))
    return [
        *([_rate_row("stock env.step", 1, stock_rates, stock_rates)] if stock_rates else []),
        *(_rate_row(profile, size, rates[profile, size], stock_rates) for profile, size in steppers),
    ]


def measure_threads(batch_sizes: tuple[int, ...] = (64, 256), rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Control steps per second of wall-clock time with one thread and with one per core, in turns.

    Returns:
        One row per profile and batch size: ``one_per_s`` and ``all_per_s``, of the fastest round of each, because other
        work on the machine only ever takes away; and their ``ratio``. ``rounds`` are those of the largest batch.
    """
    actions = _pick_and_place_actions(max(batch_sizes))
    cores = os.cpu_count() or 1
    rows = []
    for profile in PROFILES:
        for size in batch_sizes:
            steppers = [_BatchStepper(profile, size, actions[:, :size], threads) for threads in (0, cores)]
            # As many steps of small batches as of large ones: the less is timed, the more a moment's noise counts.
            turns = rounds * max(batch_sizes) // size
            times_s = [[_wall_s(stepper.run) for stepper in steppers] for _ in range(turns)]
            one_per_s, all_per_s = (_STEPS * size / min(column) for column in zip(*times_s, strict=True))
            rows.append(
                {
                    "profile": profile,
                    "envs": size,
                    "threads": cores,
                    "one_per_s": one_per_s,
                    "all_per_s": all_per_s,
                    "ratio": all_per_s / one_per_s,
                }
            )
    return rows


def measure_endurance(steps: int, profile: str = "fast") -> list[dict[str, Any]]:
    """Random actions on every task, in worlds that vary, episode after episode.

    Args:
        steps: control steps in all, the same number on each task.
        profile: fidelity profile.

    Returns:
        One row per task: ``steps``, ``episodes``, ``diverged`` episodes, ``undetected``: steps with a state that is not
        finite or an object further than 20 m away that were not reported as diverged; resident memory before and after
        [MB], the former when every scene has been built.
    """
    return [
        _endured(name, steps // len(TASKS), profile) for name in progress_bar(TASKS, unit="tasks", desc="endurance")
    ]


def _endured(name: str, steps: int, profile: str) -> dict[str, Any]:
    task = get_task(name, _VARIED)
    simulator = Simulator(task, _BATCH, profile, threads=os.cpu_count() or 1)
    for first in range(0, task.num_scenes, _BATCH):
        scenes = [number % task.num_scenes for number in range(first, first + _BATCH)]
        simulator.reset(range(_BATCH), scenes=scenes)
    rng = np.random.default_rng(0)
    before_mb, next_seed, done, undetected = _resident_mb(), _BATCH, 0, 0
    simulator.reset(range(_BATCH))
    actions = np.zeros((_BATCH, task.spec.action.dim))
    while done < steps:
        # Half of the time the same again: what only trembles gets nowhere.
        anew = rng.random(_BATCH) < 0.5
        actions[anew] = rng.uniform(-1.0, 1.0, (int(anew.sum()), actions.shape[1]))
        result = simulator.step(actions)
        done += _BATCH
        strange = (np.abs(simulator.frame.frame_pos_w) > _FAR_M).any(axis=(1, 2)) | ~np.isfinite(result.reward)
        undetected += int((strange & ~result.diverged).sum())
        over = np.flatnonzero(result.done)
        simulator.reset(range(next_seed, next_seed + len(over)), over.tolist())
        next_seed += len(over)
    return {
        "task": name,
        "steps": done,
        "episodes": next_seed - _BATCH,
        "diverged": simulator.num_diverged,
        "undetected": undetected,
        "before_mb": before_mb,
        "after_mb": _resident_mb(),
    }


def _resident_mb() -> float:
    """Memory of this process that is in RAM now [MB]; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _rate_row(name: str, size: int, rates: list[float], stock_rates: list[float]) -> dict[str, Any]:
    row = {"simulator": name, "envs": size, "steps_per_cpu_s": statistics.median(rates)}
    if stock_rates:
        ratios = [rate / stock_rate for rate, stock_rate in zip(rates, stock_rates, strict=True)]
        row["ratio_to_stock"] = statistics.median(ratios)
    return row


def measure_fidelity(tasks: Sequence[str] = tuple(CONTROLLERS), episodes: int = 320) -> list[dict[str, Any]]:
    """How far the other profiles are from ``exact``, by what demonstrators do on each task.

    Returns:
        One row per demonstrator and profile, and one for ``exact`` from starts about a millimetre off.
        ``gripper_mm`` and ``object_mm``: median over at most 64 episodes of the root mean square distance from the
        exact path under the same actions [mm]. For each of two noise scales ``success_*``, ``gap_*``: how much more
        that is than the exact one on the same seeds, and ``se_*``: the standard error of this difference.
        ``travel_mm``: how far the object ends from where it started, median and 10 % and 90 % quantiles [mm];
        ``lifted``: share of episodes that lift it by more than 2 cm; both at the higher noise.
    """
    rows = []
    for name in progress_bar(tasks, unit="tasks", desc="fidelity"):
        for kind in CONTROLLERS[name]:
            rows += _fidelity_rows(name, kind, episodes)
    return rows


def _fidelity_rows(name: str, kind: str, episodes: int) -> list[dict[str, Any]]:
    worlds = {label: (get_task(name, variation), profile) for label, (profile, variation) in _COMPARED.items()}
    exact_task, exact = worlds["exact"]
    reference = list(_demonstrated(exact_task, kind, _NOISE_SCALES[0], exact, min(episodes, _PATHS)))
    exact_success: dict[float, np.ndarray] = {}
    rows = []
    for label, (task, profile) in worlds.items():
        gripper_mm, object_mm = 1e3 * _path_errors(task, profile, reference)
        row: dict[str, Any] = {"task": name, "demonstrator": kind, "profile": label}
        row |= {"gripper_mm": gripper_mm, "object_mm": object_mm}
        for noise in _NOISE_SCALES:
            done = _demonstrated(task, kind, noise, profile, episodes)
            outcomes = [outcome_of(task.spec, episode) for episode in done]
            success = np.zeros(episodes)
            success[[outcome.seed for outcome in outcomes]] = [outcome.success for outcome in outcomes]
            gap = success - exact_success.setdefault(noise, success)
            # Where no episode ends otherwise, it is as uncertain as if one did.
            error = max(gap.std() / np.sqrt(episodes), 1 / episodes)
            row |= {f"success_{noise:g}": success.mean(), f"gap_{noise:g}": gap.mean(), f"se_{noise:g}": error}
        low, middle, high = np.quantile([1e3 * outcome.travel_m for outcome in outcomes], [0.1, 0.5, 0.9])
        row["travel_mm"] = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
        row["lifted"] = np.mean([outcome.lifted for outcome in outcomes])
        rows.append(row)
    return rows


def _demonstrated(task: Task, kind: str, noise: float, profile: str, episodes: int) -> Iterator[Episode]:
    simulator = Simulator(task, min(episodes, _BATCH), profile, threads=os.cpu_count() or 1)
    demonstrator = make_demonstrator(task.spec.name, kind, (noise, noise), simulator.num_envs)
    return run_episodes(simulator, demonstrator, range(episodes))


def _path_errors(task: Task, profile: str, episodes: list[Episode]) -> np.ndarray:
    """(2,) median over episodes of the rms distance of gripper and object when their actions are done again [m]."""
    columns = [task.spec.obs.slice(f"{name}_position") for name in ("gripper", task.spec.obs.objects[0])]
    simulator = Simulator(task, len(episodes), profile)
    observation = simulator.reset([episode.seed for episode in episodes])
    squares = np.zeros((len(episodes), len(columns)))
    lengths = np.array([episode.num_steps for episode in episodes])
    for step in range(lengths.max()):
        running = np.flatnonzero(lengths > step)
        recorded = np.stack([episodes[index].observation[step] for index in running])
        for number, column in enumerate(columns):
            gap = observation[running, column] - recorded[:, column]
            squares[running, number] += (gap**2).sum(axis=1)
        actions = np.stack([episodes[index].executed_action[step] for index in running])
        observation[running] = simulator.step(actions, running).observation
    return np.asarray(np.median(np.sqrt(squares / lengths[:, None]), axis=0))


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
    def __init__(self, profile: str, num_envs: int, actions: np.ndarray, threads: int = 0) -> None:
        self._simulator = Simulator(get_task("block"), num_envs, profile, threads)
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


def _wall_s(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
