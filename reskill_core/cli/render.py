"""``reskill render``: videos of recorded or of new episodes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reskill_core.cli.arguments import Subparsers, add_verb
from reskill_core.errors import DataError

if TYPE_CHECKING:
    from reskill_core.data import Episode


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        subparsers,
        "render",
        run,
        "draw episodes as a video: those of a data set, or new ones of a skill module that samples its prior",
        "reskill render runs/data/block --episodes 4",
        "reskill render runs/skills/block --out prior.mp4",
    )
    parser.add_argument("source", type=Path, help="a data set, or the run folder or checkpoint of a skill module")
    parser.add_argument("--episodes", type=int, default=4, help="number of episodes (default: 4)")
    parser.add_argument("--first", type=int, default=0, help="first episode of the data set (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/render.mp4"), help="the MP4 (default: runs/render.mp4)")
    parser.add_argument("--width", type=int, default=480, help="of the picture [pixels] (default: 480)")
    parser.add_argument("--height", type=int, default=360, help="of the picture [pixels] (default: 360)")


def run(options: argparse.Namespace) -> int:
    """Draw and say where the video is."""
    from reskill_core.data.manifest import find_shards

    recorded = bool(find_shards(options.source))
    task_name, profile, episodes = _recorded(options) if recorded else _rolled_out(options)
    draw(task_name, profile, episodes, options.out, options.width, options.height)
    print(f"{options.out}: {len(episodes)} episodes, {sum(episode.num_steps for episode in episodes)} steps")
    return 0


def draw(task_name: str, profile: str, episodes: Sequence[Episode], out: Path, width: int, height: int) -> None:
    """Write a video of episodes one after the other, at the speed at which they happened."""
    from tqdm import tqdm

    from reskill_sim.rendering import Renderer, write_video
    from reskill_sim.tasks import get_task

    task = get_task(task_name)
    with Renderer(task, width, height, profile) as renderer:
        states = [state for episode in episodes for state in episode.sim_state]
        frames = [renderer.render(state) for state in tqdm(states, unit="frames")]
    write_video(out, frames, task.spec.control_rate_hz)


def _recorded(options: argparse.Namespace) -> tuple[str, str, list[Episode]]:
    from reskill_core.data import DemoDataset

    dataset = DemoDataset.open(options.source, on_bad_shard="skip")
    if dataset.spec.sim_state_dim == 0:
        raise DataError(f"{options.source} holds no simulator states (profile {dataset.spec.profile!r}) to draw")
    chosen = range(options.first, min(options.first + options.episodes, dataset.num_episodes))
    if not chosen:
        raise DataError(f"{options.source} has {dataset.num_episodes} episodes, none from {options.first} on")
    return dataset.spec.task.name, dataset.spec.profile, [dataset.episode(index) for index in chosen]


def _rolled_out(options: argparse.Namespace) -> tuple[str, str, list[Episode]]:
    from reskill_core.runtime import SkillModule
    from reskill_sim.episodes import run_episodes
    from reskill_sim.evaluation.rollouts import EVALUATION_SEED, actor_of
    from reskill_sim.simulator import Simulator
    from reskill_sim.tasks import get_task

    module = SkillModule.load(options.source)
    simulator = Simulator(get_task(module.task_spec.name), options.episodes)
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + options.episodes)
    episodes = run_episodes(simulator, actor_of("prior", module, options.episodes), seeds)
    return module.task_spec.name, "exact", sorted(episodes, key=lambda episode: episode.seed)
