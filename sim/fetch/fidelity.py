"""Fidelity of the Fetch's coarse profiles: comparison with the exact one on demonstrations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from reskill_core.data import Episode
from reskill_core.progress import progress_bar
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.demonstrators import CONTROLLERS, make_demonstrator
from reskill_sim.fetch.object_metrics import object_metrics
from reskill_sim.fetch.profiles import PROFILES
from reskill_sim.fetch.tasks import get_task
from reskill_sim.fetch.tasks.base import FetchTask

_BATCH = 64
# Noise scales of actions, in action units: a typical one of collected demonstrations, and a larger one.
_NOISE_SCALES = (0.05, 0.2)
# Episodes whose paths are compared.
_PATHS = 64
# Compared profiles, and a baseline: the exact profile with start states shifted by a millimetre, which is the distance
# between the paths of the coarse profiles and its own. It shows how much this alone changes the success rate.
_COMPARED = {
    "exact": ("exact", NOMINAL),
    "exact, 1 mm off": ("exact", Variation(spawn=1.01)),
    **{name: (name, NOMINAL) for name in PROFILES if name != "exact"},
}


def measure_fidelity(tasks: Sequence[str] = tuple(CONTROLLERS), episodes: int = 320) -> list[dict[str, Any]]:
    """Compare the other profiles with ``exact`` on demonstrations of each task.

    Returns:
        One row per demonstrator and profile, and one for ``exact`` with start states shifted by about a millimetre.
        ``gripper_mm`` and ``object_mm``: median over at most 64 episodes of the root mean square distance from the
        exact path under the same actions [mm]. For each of two noise scales, ``success_*``: success rate, ``gap_*``:
        its difference from ``exact`` on the same seeds, and ``se_*``: the standard error of this difference.
        ``travel_mm``: distance of the object from start to end, median and 10 % and 90 % quantiles [mm];
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
            ran = [(episode, object_metrics(task.spec, episode)) for episode in done]
            success = np.zeros(episodes)
            success[[episode.seed for episode, _ in ran]] = [episode.success for episode, _ in ran]
            gap = success - exact_success.setdefault(noise, success)
            # If all outcomes are equal, use the error for a single different one.
            error = max(gap.std() / np.sqrt(episodes), 1 / episodes)
            row |= {f"success_{noise:g}": success.mean(), f"gap_{noise:g}": gap.mean(), f"se_{noise:g}": error}
        low, middle, high = np.quantile([1e3 * metrics["travel_m"] for _, metrics in ran], [0.1, 0.5, 0.9])
        row["travel_mm"] = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
        row["lifted"] = np.mean([metrics["lifted"] for _, metrics in ran])
        rows.append(row)
    return rows


def _demonstrated(task: FetchTask, kind: str, noise: float, profile: str, episodes: int) -> Iterator[Episode]:
    simulator = Simulator(task, min(episodes, _BATCH), profile, threads=os.cpu_count() or 1)
    demonstrator = make_demonstrator(task.spec.name, kind, (noise, noise), simulator.num_envs)
    return run_episodes(simulator, demonstrator, range(episodes))


def _path_errors(task: FetchTask, profile: str, episodes: list[Episode]) -> np.ndarray:
    """(2,) median over episodes of the rms distance of gripper and object when the actions are repeated [m]."""
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
