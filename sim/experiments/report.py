"""Showcase of an agent for a report: its chosen skills compared with the prior's, and videos of episodes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import load_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.data import Episode
from reskill_core.report import AGENT_POLICY, AgentRun, Showcase, SkillChoices, Video, pick_episodes
from reskill_core.results import EpisodeOutcome
from reskill_core.runtime import SkillModule, SkillPolicy
from reskill_core.runtime.agent import AGENT_KIND, agent_policy
from reskill_core.seeding import EVALUATION_SEED
from reskill_core.spec import Observations, joined, num_rows, take_rows
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.interfaces import Image
from reskill_sim.engine.rendering import write_video
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation.rollouts import with_places
from reskill_sim.families import get_task

EPISODES = 48
VIDEO_WIDTH, VIDEO_HEIGHT = 320, 240


def showcase(run: AgentRun, with_videos: bool = True) -> Showcase:
    """Run an agent in the world of its evaluation, or with the nominal profile and variation if it has none.

    Args:
        run: its training run.
        with_videos: render the best, median and worst episode of its evaluation, or, without one, of the episodes run
            here.

    Raises:
        CheckpointError: it has no checkpoint, or a damaged one.
        SimulationError: off-screen rendering is not available.
    """
    checkpoint, outcomes = load_checkpoint(run.folder, AGENT_KIND), run.outcomes
    variation = config_from_dict(Variation, outcomes.variation, str(outcomes.folder)) if outcomes else NOMINAL
    settings = (outcomes.settings if outcomes else None) or checkpoint.task.settings
    task, profile = get_task(checkpoint.task.name, variation, settings), outcomes.profile if outcomes else "exact"
    policy = agent_policy(checkpoint)

    def play(seeds: Sequence[int]) -> list[Episode]:
        environments = task.make_env(len(seeds), profile)
        return list(run_episodes(environments, with_places(policy, len(seeds)), seeds))

    played = play(range(EVALUATION_SEED, EVALUATION_SEED + EPISODES))
    videos = []
    if with_videos:
        picked = pick_episodes(outcomes.episodes if outcomes else [_outcome(run, episode) for episode in played])
        with task.family.make_renderer(task, VIDEO_WIDTH, VIDEO_HEIGHT, profile) as renderer:
            for title, pick in picked.items():
                [episode] = play([pick.seed])
                mp4 = _mp4([renderer.render(state) for state in episode.sim_state], task.spec.control_rate_hz)
                videos.append(Video(title, pick.seed, _outcome(run, episode).episode_return, mp4))
    return Showcase(run, skill_choices(policy, played), tuple(videos))


def skill_choices(policy: SkillPolicy, episodes: Sequence[Episode]) -> SkillChoices | None:
    """Return the skills that an agent chose without exploration, and samples of the prior at the same observations.

    None if the agent has no skill module.
    """
    if not isinstance(policy.module, SkillModule):
        return None
    starts, chosen = [], []
    for episode in episodes:
        seen = episode.observations(policy.module.task_spec.obs)
        starts.append(take_rows(seen, slice(None, None, policy.skill_steps)))
        chosen.append(_chosen(policy, seen, episode.seed))
    number = np.concatenate([np.arange(num_rows(start)) for start in starts])

    prior = SkillPolicy(policy.module, "sample")
    prior.reset(range(len(number)))
    return SkillChoices(np.concatenate(chosen), prior.act(joined(starts)).latent, number, len(episodes))


def _chosen(policy: SkillPolicy, seen: Observations, seed: int) -> NDArray[np.float32]:
    """(S, Z) skills of an episode. A policy with memory or a state estimator needs all observations up to each."""
    policy.reset([seed])
    latents = [policy.act(take_rows(seen, slice(step, step + 1))).latent[0] for step in range(num_rows(seen))]
    return np.stack(latents[:: policy.skill_steps])


def _outcome(run: AgentRun, episode: Episode) -> EpisodeOutcome:
    episode_return = float(episode.reward.sum(dtype=np.float64))
    return EpisodeOutcome(run.task, AGENT_POLICY, episode.seed, episode.success, episode_return)


def _mp4(frames: Sequence[Image], rate_hz: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episode.mp4"
        write_video(path, frames, rate_hz)
        return path.read_bytes()
