"""Fidelity of the kitchen's coarse profiles: comparison with the exact one on demonstrations."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from reskill_core.data import Episode
from reskill_core.progress import progress_bar
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.simulator import Simulator
from reskill_sim.kitchen.demonstrators import CHAIN, make_demonstrator
from reskill_sim.kitchen.profiles import PROFILES
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS, KitchenSettings, KitchenTask

_BATCH = 64
# Noise scales of actions, in action units: without, and the highest one of collected demonstrations.
_NOISE_SCALES = (0.0, 0.15)
# Episodes and control steps whose paths are compared.
_PATHS, _STEPS = 64, 60
# A baseline: the exact profile with other noise of measurement. It shows how far chance alone takes a path.
_OTHER_NOISE = "exact, other noise"


def measure_fidelity(episodes: int = 320) -> list[dict[str, Any]]:
    """Compare the other profiles with ``exact`` on demonstrated chains of any four of the seven subtasks.

    Returns:
        One row per profile, and one for ``exact`` with other noise of measurement. ``arm_mrad``: median over at most 64
        episodes of the largest difference of an arm joint from the exact path after 60 steps of the same actions
        [mrad]. For each of two noise scales of actions, ``subtasks_*``: mean number of completed subtasks,
        ``all_*``: rate of episodes that complete all four, ``gap_*``: difference of that rate from ``exact`` on the
        same seeds, and ``se_*``: the standard error of this difference.
    """
    reference = list(_demonstrated("exact", _NOISE_SCALES[-1], min(episodes, _PATHS)))
    exact: dict[float, np.ndarray] = {}
    rows = []
    names = ("exact", _OTHER_NOISE, *(name for name in PROFILES if name != "exact"))
    for name in progress_bar(names, unit="profiles", desc="fidelity"):
        profile, first_seed = ("exact", episodes) if name == _OTHER_NOISE else (name, 0)
        row: dict[str, Any] = {"profile": name, "arm_mrad": 1e3 * _arm_error(profile, first_seed, reference)}
        for noise in _NOISE_SCALES:
            done = list(_demonstrated(profile, noise, episodes, first_seed))
            subtasks, success = np.zeros((2, episodes))
            places = [episode.seed - first_seed for episode in done]
            subtasks[places] = [episode.reward.sum() for episode in done]
            success[places] = [episode.success for episode in done]
            gap = success - exact.setdefault(noise, success)
            # If all outcomes are equal, use the error for a single different one.
            error = max(gap.std() / np.sqrt(episodes), 1 / episodes)
            row |= {f"subtasks_{noise:g}": subtasks.mean(), f"all_{noise:g}": success.mean()}
            row |= {f"gap_{noise:g}": gap.mean(), f"se_{noise:g}": error}
        rows.append(row)
    return rows


def _task() -> KitchenTask:
    return KitchenTask(settings=KitchenSettings(tuple(SUBTASKS), needed=4))


def _demonstrated(profile: str, noise: float, episodes: int, first_seed: int = 0) -> list[Episode]:
    simulator = Simulator(_task(), min(episodes, _BATCH), profile, threads=os.cpu_count() or 1)
    demonstrator = make_demonstrator(CHAIN, (noise, noise), simulator.num_envs, simulator.spec.settings)
    return list(run_episodes(simulator, demonstrator, range(first_seed, first_seed + episodes)))


def _arm_error(profile: str, first_seed: int, episodes: list[Episode]) -> float:
    """Median over episodes of the largest difference of an arm joint after the same actions [rad]."""
    arm = KITCHEN_OBS.slice("arm_position")
    simulator = Simulator(_task(), len(episodes), profile)
    observation = simulator.reset([episode.seed + first_seed for episode in episodes])
    steps = min(_STEPS, *(episode.num_steps - 1 for episode in episodes))
    for step in range(steps):
        observation = simulator.step(np.stack([episode.executed_action[step] for episode in episodes])).observation
    recorded = np.stack([episode.observation[steps, arm] for episode in episodes])
    return float(np.median(np.abs(observation[:, arm] - recorded).max(axis=1)))
