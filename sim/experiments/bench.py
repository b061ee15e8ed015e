"""Benchmarks of environments and demonstrators, compared with a reference environment in the same run."""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from reskill_core.errors import SimulationError
from reskill_core.progress import progress_bar
from reskill_sim.engine.family import BenchLoad
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.experiments.collect import CollectConfig, collect
from reskill_sim.families import families, family_of, get_task

_STEPS = 40
_ROUNDS = 5
_BATCH = 64
# Further than any object can be thrown in an episode [m].
_FAR_M = 20.0
_VARIED = Variation(friction=(0.5, 1.5), mass=(0.5, 2.0), size=(0.8, 1.2), perception_delay=(0, 2), action_delay=(0, 2))


def bench_load(task: str = "") -> BenchLoad:
    """Return the benchmark load of a task's family; by default of the first family that has one.

    Raises:
        SimulationError: the family has none.
    """
    chosen = (family_of(task),) if task else families()
    found = next((load for family in chosen if (load := family.bench_load()) is not None), None)
    if found is None:
        raise SimulationError(f"family {chosen[0].name!r} has nothing to measure its environments by")
    return found


def measure_stepping(
    batch_sizes: tuple[int, ...] = (), rounds: int = _ROUNDS, load: BenchLoad | None = None
) -> list[dict[str, Any]]:
    """Measure control steps per CPU-second on demonstrations, alternating with the reference environment.

    Args:
        batch_sizes: numbers of parallel environments; by default those of the load.
        rounds: number of measurements of each.
        load: the load; by default that of the first family.

    Returns:
        One row per profile and batch size: ``steps_per_cpu_s`` and ``ratio_to_stock``, medians over the rounds. If the
        reference does not run here, its row and the ratios are left out.
    """
    load = load or bench_load()
    batch_sizes = batch_sizes or load.batch_sizes
    task = get_task(load.task)
    actions = _demonstrated_actions(load, max(batch_sizes))
    reference = load.reference(actions[:, 0])
    steppers = {
        (profile, size): _BatchStepper(task, profile, actions[:, :size])
        for profile in task.family.profiles
        for size in batch_sizes
    }
    reference_rates: list[float] = []
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in steppers}
    for _ in range(rounds):
        if reference is not None:
            reference_rates.append(_steps_per_cpu_s(reference, _STEPS))
        for key, stepper in steppers.items():
            rates[key].append(_steps_per_cpu_s(stepper.run, _STEPS * key[1]))
    return [
        *([_rate_row(load.reference_name, 1, reference_rates, reference_rates)] if reference_rates else []),
        *(_rate_row(profile, size, rates[profile, size], reference_rates) for profile, size in steppers),
    ]


def measure_threads(
    batch_sizes: tuple[int, ...] = (), rounds: int = _ROUNDS, load: BenchLoad | None = None
) -> list[dict[str, Any]]:
    """Measure control steps per second of wall-clock time with one thread and with one per core, alternating.

    Args:
        batch_sizes: numbers of parallel environments; by default the two largest of the load.
        rounds: number of measurements of the largest batch.
        load: the load; by default that of the first family.

    Returns:
        One row per profile and batch size: ``one_per_s`` and ``all_per_s``, of the fastest round of each, because other
        work on the machine can only slow it down; and their ``ratio``.
    """
    load = load or bench_load()
    batch_sizes = batch_sizes or load.batch_sizes[-2:]
    task = get_task(load.task)
    actions = _demonstrated_actions(load, max(batch_sizes))
    cores = os.cpu_count() or 1
    rows = []
    for profile in task.family.profiles:
        for size in batch_sizes:
            steppers = [_BatchStepper(task, profile, actions[:, :size], threads) for threads in (0, cores)]
            # Small batches get as many steps as large ones, since short timings are noisy.
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


def measure_endurance(steps: int, profile: str = "fast", tasks: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run random actions on tasks with randomisation, for many episodes.

    Args:
        steps: total number of control steps, split evenly between tasks.
        profile: fidelity profile.
        tasks: names of the tasks; by default all of the first family.

    Returns:
        One row per task: ``steps``, ``episodes``, ``diverged`` episodes; ``undetected``: steps with a state that is not
        finite or an object further than 20 m away that were not reported as diverged; resident memory before (with all
        scenes built) and after [MB].
    """
    names = tasks or families()[0].tasks
    share = steps // len(names)
    return [_endured(name, share, profile) for name in progress_bar(names, unit="tasks", desc="endurance")]


def _endured(name: str, steps: int, profile: str) -> dict[str, Any]:
    task = get_task(name, _VARIED)
    environments = task.make_env(_BATCH, profile, threads=os.cpu_count() or 1)
    for seeds in _batches(_seeds_of_all_scenes(task)):
        environments.reset(seeds, range(len(seeds)))
    positions = np.concatenate([np.arange(task.spec.obs.dim)[column] for column in task.positions.values()])
    rng = np.random.default_rng(0)
    before_mb, next_seed, done, diverged, undetected = _resident_mb(), _BATCH, 0, 0, 0
    environments.reset(range(_BATCH))
    actions = np.zeros((_BATCH, task.spec.action.dim))
    while done < steps:
        # Actions are repeated half of the time: independent ones would hardly move the robot.
        anew = rng.random(_BATCH) < 0.5
        actions[anew] = rng.uniform(-1.0, 1.0, (int(anew.sum()), actions.shape[1]))
        result = environments.step(actions)
        done += _BATCH
        diverged += int(result.diverged.sum())
        strange = (np.abs(result.observation[:, positions]) > _FAR_M).any(axis=1) | ~np.isfinite(result.reward)
        undetected += int((strange & ~result.diverged).sum())
        over = np.flatnonzero(result.done)
        environments.reset(range(next_seed, next_seed + len(over)), over.tolist())
        next_seed += len(over)
    return {
        "task": name,
        "steps": done,
        "episodes": next_seed - _BATCH,
        "diverged": diverged,
        "undetected": undetected,
        "before_mb": before_mb,
        "after_mb": _resident_mb(),
    }


def _batches(seeds: Sequence[int]) -> list[Sequence[int]]:
    return [seeds[first : first + _BATCH] for first in range(0, len(seeds), _BATCH)]


def _seeds_of_all_scenes(task: Task) -> list[int]:
    """One episode seed per scene."""
    seeds: dict[int, int] = {}
    for seed in count():
        seeds.setdefault(task.draw_scene(seed), seed)
        if len(seeds) == task.num_scenes:
            return list(seeds.values())
    raise AssertionError


def _resident_mb() -> float:
    """Resident memory of this process [MB]; 0 if unknown."""
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


def measure_collecting(workers: int = 0, load: BenchLoad | None = None) -> dict[str, float]:
    """Measure demonstrations per second of a load's task, including the start of the workers."""
    load = load or bench_load()
    with tempfile.TemporaryDirectory() as folder:
        per_shard = min(50, math.ceil(load.episodes / (workers or os.cpu_count() or 1)))
        config = CollectConfig(load.task, load.episodes, folder, workers=workers, episodes_per_shard=per_shard)
        report = collect(config, show_progress=False)
    return {
        "workers": config.num_workers,
        "demonstrations_per_s": report.num_new / report.duration_s,
        "steps_per_s": report.num_steps / report.duration_s,
    }


def _demonstrated_actions(load: BenchLoad, num_envs: int) -> np.ndarray:
    """(T, N, A) actions of a demonstrator, so that contacts such as grasps and lifts are part of the load."""
    environments = get_task(load.task).make_env(num_envs)
    demonstrator = family_of(load.task).make_demonstrator(load.task, load.demonstrator, num_envs=num_envs)
    observation = environments.reset(range(num_envs))
    demonstrator.reset(range(num_envs))
    actions = []
    for _ in range(_STEPS):
        actions.append(demonstrator.act(observation).action)
        observation = environments.step(actions[-1]).observation
    return np.stack(actions)


class _BatchStepper:
    def __init__(self, task: Task, profile: str, actions: np.ndarray, threads: int = 0) -> None:
        self._environments = task.make_env(actions.shape[1], profile, threads)
        self._actions = actions

    def run(self) -> None:
        self._environments.reset(range(self._environments.num_envs))
        for action in self._actions:
            self._environments.step(action)


def _steps_per_cpu_s(run: Callable[[], None], steps: int) -> float:
    start = time.process_time()
    run()
    return steps / (time.process_time() - start)


def _wall_s(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
