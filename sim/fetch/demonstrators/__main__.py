"""Evaluation of the scripted controllers: ``python -m reskill_sim.fetch.demonstrators [episodes]``."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which are slow
    from reskill_core.process import start

    start("reskill_sim.fetch.demonstrators.__main__")

import sys

import numpy as np

from reskill_core.data import Episode
from reskill_core.intervals import Estimate, rate
from reskill_core.seeding import EVALUATION_SEED
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE
from reskill_sim.fetch.demonstrators import (
    CONTROLLERS,
    FAST_SCRIPTS,
    Demonstrator,
    make_demonstrator,
    make_fast_script,
)
from reskill_sim.fetch.tasks import get_task

NOISE_RANGES = ((0.0, 0.0), (0.0, 0.05), (0.0, 0.1), DEFAULT_NOISE_RANGE, (0.2, 0.2))
_BATCH = 64


def success_rate(task: str, kind: str, noise_range: tuple[float, float], episodes: int) -> Estimate:
    """Measure the success rate of a demonstrator over episodes with seeds from 0 on."""
    ran = _run(task, make_demonstrator(task, kind, noise_range, min(_BATCH, episodes)), range(episodes))
    return rate([episode.success for episode in ran])


def success_and_return(task: str, script: Demonstrator, episodes: int) -> str:
    """Measure success at the end and mean return with its standard error, over the seeds of reported evaluations."""
    ran = _run(task, script, range(EVALUATION_SEED, EVALUATION_SEED + episodes))
    returns = np.array([episode.reward.sum() for episode in ran])
    error = returns.std() / np.sqrt(len(returns))
    return f"{np.mean([episode.success for episode in ran]):.1%}, {returns.mean():.1f} ± {error:.1f}"


def _run(task: str, script: Demonstrator, seeds: range) -> list[Episode]:
    return list(run_episodes(get_task(task).make_env(min(_BATCH, len(seeds)), threads=2), script, seeds))


def main() -> int:
    """Print the success of demonstrators on demonstration tasks, and success and return of scripts on reward tasks."""
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    collected = [task for task in CONTROLLERS if get_task(task).hold_steps is not None]
    print("| task | demonstrator | " + " | ".join(f"noise {low:g} – {high:g}" for low, high in NOISE_RANGES) + " |")
    print("|---" * (2 + len(NOISE_RANGES)) + "|")
    for task in collected:
        for kind in CONTROLLERS[task]:
            rates = [success_rate(task, kind, noise_range, episodes) for noise_range in NOISE_RANGES]
            print(f"| {task} | {kind} | " + " | ".join(str(estimate) for estimate in rates) + " |", flush=True)

    batch = min(_BATCH, episodes)
    low, high = DEFAULT_NOISE_RANGE
    print("\nSuccess at the end and return:\n")
    print(f"| task | demonstrator, noise {low:g} – {high:g} | demonstrator, noise 0 | fast script |\n|---|---|---|---|")
    for task in FAST_SCRIPTS:
        scripts = (
            make_demonstrator(task, num_envs=batch),
            make_demonstrator(task, noise_range=(0.0, 0.0), num_envs=batch),
            make_fast_script(task, batch),
        )
        cells = [success_and_return(task, script, episodes) for script in scripts]
        print(f"| {task} | " + " | ".join(cells) + " |", flush=True)
    return 0
