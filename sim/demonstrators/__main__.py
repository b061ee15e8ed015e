"""How reliable the demonstrators are: ``python -m reskill_sim.demonstrators [episodes]``."""

from __future__ import annotations

import sys

from reskill_core.intervals import Estimate, rate
from reskill_sim.demonstrators import CONTROLLERS, DEFAULT_NOISE_RANGE, make_demonstrator
from reskill_sim.episodes import run_episodes
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import get_task

NOISE_RANGES = ((0.0, 0.0), (0.0, 0.05), (0.0, 0.1), DEFAULT_NOISE_RANGE, (0.2, 0.2))
_BATCH = 64


def success_rate(task: str, kind: str, noise_range: tuple[float, float], episodes: int) -> Estimate:
    """Success of a demonstrator over episodes with seeds from 0 on."""
    batch = min(_BATCH, episodes)
    simulator = Simulator(get_task(task), batch, threads=2)
    demonstrator = make_demonstrator(task, kind, noise_range, batch)
    return rate([episode.success for episode in run_episodes(simulator, demonstrator, range(episodes))])


def main() -> int:
    """Print a table of success rates with their 95 % intervals."""
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    print("| task | demonstrator | " + " | ".join(f"noise {low:g} – {high:g}" for low, high in NOISE_RANGES) + " |")
    print("|---" * (2 + len(NOISE_RANGES)) + "|")
    for task, controllers in CONTROLLERS.items():
        for kind in controllers:
            rates = [success_rate(task, kind, noise_range, episodes) for noise_range in NOISE_RANGES]
            print(f"| {task} | {kind} | " + " | ".join(str(estimate) for estimate in rates) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
