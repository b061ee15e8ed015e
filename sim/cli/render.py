"""``reskill render``: videos of recorded or new episodes, and images of start states."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from reskill_core.errors import ConfigError, DataError
from reskill_core.files import require_writable_file
from reskill_core.lineage import LINEAGE_KEY, Lineage
from reskill_sim.cli.arguments import (
    Subparsers,
    add_settings_argument,
    add_variation_argument,
    add_verb,
    number,
    read_settings,
    read_variation,
)

if TYPE_CHECKING:
    from reskill_core.data import DataWorld, DemoDataset, Episode
    from reskill_sim.engine.task import Task


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand."""
    parser = add_verb(
        subparsers,
        "render",
        run,
        "render episodes as a video: episodes of a data set, new episodes of an agent or of skills sampled from a "
        "module's prior, or of any policy on a task; with --starts, an image of start states of a task",
        "reskill render runs/data/block --episodes 4",
        "reskill render runs/agents/clean_up --out agent.mp4",
        "reskill render clean_up --policy fast-script",
        "reskill render clean_up --policy prior --checkpoints runs/skills/block",
        "reskill render complex_hook --starts 16 --out starts.png",
    )
    parser.add_argument("source", help="a data set, the run folder or checkpoint of a skill module or agent, or a task")
    parser.add_argument("--policy", default="", help="policy for the task (default: demonstrator)")
    parser.add_argument("--checkpoints", nargs="+", default=[], help="skill modules and agents, for the policies")
    add_variation_argument(parser)
    add_settings_argument(parser, "the checkpoint's, or the task's own")
    parser.add_argument(
        "--starts", type=number(int, 0, 1000), default=0, help="render this many start states of the task instead"
    )
    parser.add_argument("--episodes", type=number(int, 1, 10**4), default=4, help="number of episodes (default: 4)")
    parser.add_argument(
        "--first", type=number(int, 0, 10**9), default=0, help="first episode of the data set (default: 0)"
    )
    parser.add_argument("--out", type=Path, default=None, help="the file (default: runs/render.mp4 or runs/starts.png)")
    parser.add_argument(
        "--profile",
        default="",
        help="simulator profile of new episodes (default: exact; for skills, that of their training data)",
    )
    parser.add_argument("--width", type=number(int, 16, 1280), default=480, help="image width [pixels] (default: 480)")
    parser.add_argument("--height", type=number(int, 16, 960), default=360, help="image height [pixels] (default: 360)")


def run(options: argparse.Namespace) -> int:
    """Render and print the path of the file."""
    from reskill_core.data.manifest import find_shards
    from reskill_sim.families import get_task, task_names

    folder = Path(options.source)
    recorded = folder.is_dir() and bool(find_shards(folder))
    is_task = options.source in task_names() and not recorded
    if not is_task and (options.policy or options.checkpoints or options.starts):
        raise ConfigError(
            f"--policy, --checkpoints and --starts go with a task, {options.source!r} is none; "
            f"tasks: {', '.join(task_names())}"
        )
    if recorded and (options.vary or options.profile or options.task_settings):
        raise ConfigError(
            "--vary, --task-settings and --profile go with new episodes; recorded ones are drawn in the world they have"
        )
    out = options.out or Path("runs/starts.png" if options.starts else "runs/render.mp4")
    require_writable_file(out, ConfigError)
    if options.starts:
        return _starts(options, get_task(options.source, read_variation(options), read_settings(options)), out)
    scenes = _recorded(options) if recorded else _new(options, is_task)
    draw(scenes, out, options.width, options.height)
    episodes = [episode for scene in scenes for episode in scene.episodes]
    print(f"{out}: {len(episodes)} episodes, {sum(episode.num_steps for episode in episodes)} steps")
    for text in dict.fromkeys(scene.world.describe() for scene in scenes):
        print(f"  in {text}")
    if made_of := scenes[0].lineage.describe():
        print(f"  of {made_of}")
    return 0


@dataclass(frozen=True)
class Scenes:
    """Episodes with the same simulation settings (*world*), to be rendered with them, and their lineage."""

    task: Task
    world: DataWorld
    episodes: Sequence[Episode]
    lineage: Lineage


def draw(scenes: Sequence[Scenes], out: Path, width: int, height: int) -> None:
    """Write a video of episodes at real-time speed, with their lineage in its metadata."""
    from reskill_core.progress import progress_bar
    from reskill_sim.engine.rendering import write_video

    frames = []
    total = sum(episode.num_steps for scene in scenes for episode in scene.episodes)
    with progress_bar(total=total, unit="frames") as progress:
        for scene in scenes:
            with scene.task.family.make_renderer(scene.task, width, height, scene.world.profile) as renderer:
                for state in (state for episode in scene.episodes for state in episode.sim_state):
                    frames.append(renderer.render(state))
                    progress.update()
    comment = json.dumps({LINEAGE_KEY: [scene.lineage.to_document() for scene in scenes]})
    write_video(out, frames, scenes[0].task.spec.control_rate_hz, comment)


def recorded_scenes(dataset: DemoDataset, episodes: Sequence[int]) -> list[Scenes]:
    """Return episodes of a data set with their simulation settings, in order.

    Raises:
        DataError: there are no simulator states, or this simulator does not have their settings.
    """
    from reskill_sim.evaluation.acting_lineage import acting_lineage
    from reskill_sim.evaluation.worlds import task_of

    if dataset.spec.sim_state_dim == 0:
        raise DataError(f"{dataset.folder} holds no simulator states (profile {dataset.spec.profile!r}) to draw")
    scenes = []
    for which, group in groupby(episodes, key=lambda index: int(dataset.world_number[index])):
        world = dataset.worlds[which]
        task = task_of(dataset, world)
        lineage = replace(acting_lineage(task, world.profile), data=dataset.content_hash(), simulator=world.simulator)
        scenes.append(Scenes(task, world, [dataset.episode(index) for index in group], lineage))
    return scenes


def _recorded(options: argparse.Namespace) -> list[Scenes]:
    from reskill_core.data import DemoDataset

    dataset = DemoDataset.open(options.source, on_bad_shard="skip")
    chosen = range(options.first, min(options.first + options.episodes, dataset.num_episodes))
    if not chosen:
        raise DataError(f"{options.source} has {dataset.num_episodes} episodes, none from {options.first} on")
    return recorded_scenes(dataset, chosen)


def _new(options: argparse.Namespace, is_task: bool) -> list[Scenes]:
    from reskill_core.checkpoint import load_checkpoint
    from reskill_core.runtime.agent import AGENT_KIND
    from reskill_core.runtime.loading import POLICY_KINDS
    from reskill_core.seeding import EVALUATION_SEED
    from reskill_sim.engine.episodes import run_episodes
    from reskill_sim.evaluation import acting_checkpoints, make_policy
    from reskill_sim.evaluation.acting_lineage import acting_lineage
    from reskill_sim.evaluation.worlds import learnt_world, settings_for, task_in, world_of
    from reskill_sim.families import get_task

    folders = options.checkpoints if is_task else [options.source]
    checkpoints = [load_checkpoint(folder, *POLICY_KINDS) for folder in folders]
    if is_task:
        name, policy = options.source, options.policy or "demonstrator"
    else:
        name, policy = checkpoints[0].task.name, "agent" if checkpoints[0].kind == AGENT_KIND else "prior"
    if is_task or policy == "agent":
        settings = settings_for(name, checkpoints, read_settings(options))
        task = get_task(name, read_variation(options), settings)
        world = world_of(options.profile or "exact", task.variation, task.spec.settings)
    else:
        variation = read_variation(options) if options.vary else None
        world = learnt_world(checkpoints[0], options.profile, variation, read_settings(options))
    task = task_in(world, name, f"what {options.source} learnt from")
    environments = task.make_env(options.episodes, world.profile)
    acting = make_policy(policy, task.spec, options.episodes, checkpoints)
    episodes = run_episodes(environments, acting, range(EVALUATION_SEED, EVALUATION_SEED + options.episodes))
    lineage = acting_lineage(task, world.profile, acting_checkpoints(policy, task.spec, checkpoints)[0])
    return [Scenes(task, world, sorted(episodes, key=lambda episode: episode.seed), lineage)]


def _starts(options: argparse.Namespace, task: Task, out: Path) -> int:
    from reskill_sim.engine.rendering import write_sheet

    profile = options.profile or "exact"
    environments = task.make_env(options.starts, profile)
    environments.reset(range(options.starts))
    with task.family.make_renderer(task, options.width, options.height, profile) as renderer:
        write_sheet(out, [renderer.render(state) for state in environments.state()])
    print(f"{out}: start states of {options.source}, seeds 0 to {options.starts - 1}")
    return 0
