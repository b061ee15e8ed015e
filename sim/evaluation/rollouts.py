"""Rollouts of a skill module's prior and of two baselines, from evaluation start states."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.environment import Places
from reskill_core.policy import Policy
from reskill_core.rl.actor import Decision
from reskill_core.runtime import SkillAction, SkillModule, SkillPolicy
from reskill_core.seeding import EVALUATION_SEED, episode_rng
from reskill_core.spec import TaskSpec, vector_of
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.task import Task

_PATH_STEPS = 1000


class UniformPolicy:
    """Policy with actions uniform in [-1, 1], drawn in every step."""

    def __init__(self, task: TaskSpec, num_envs: int) -> None:
        self._task = task
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes."""
        for place, seed in zip(range(len(self._rngs)) if places is None else places, seeds, strict=True):
            self._rngs[place] = episode_rng(seed, "policy")

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Return random actions (n, A)."""
        chosen = range(len(self._rngs)) if places is None else places
        size = self._task.action.dim
        action = np.stack([self._rngs[place].uniform(-1, 1, size) for place in chosen]).astype(np.float32)
        return plain_action(action)


def plain_action(action: NDArray[np.float32]) -> SkillAction:
    """Wrap actions (n, A) of a policy without skills and residual."""
    return SkillAction(
        action=action,
        decoded_action=action,
        residual=np.zeros_like(action),
        residual_weight=np.zeros(len(action), np.float32),
        latent=np.zeros((len(action), 0), np.float32),
        skill_step=np.zeros(len(action), np.int64),
    )


@dataclass(frozen=True)
class RolloutOutcome:
    """Outcome of one rollout.

    Attributes:
        seed: seed of the episode.
        success: whether the episode ended in success.
        metrics: further metrics of the task, by name.
        episode_return: sum of the rewards.
    """

    seed: int
    success: bool
    metrics: Mapping[str, float] = field(default_factory=dict)
    episode_return: float = 0.0


class PriorSampler:
    """High level that samples latents from a prior of any kind, such as mixtures, which are no map from noise.

    Args:
        module: the skills; their prior is evaluated in torch.
    """

    def __init__(self, module: SkillModule) -> None:
        self._module = module

    def act(self, inputs: NDArray[np.float32], draws: NDArray[np.float32] | None = None) -> Decision:
        """Sample latents, each with random numbers that its draws are the seed of, whatever the other rows are."""
        import torch

        features = torch.from_numpy(inputs.reshape(len(inputs), -1))
        seeds = np.zeros((len(inputs), 1), np.float32) if draws is None else draws
        found = []
        with torch.no_grad():
            for row, seed in zip(features, seeds, strict=True):
                number = int.from_bytes(hashlib.sha256(seed.tobytes()).digest()[:7], "little")
                prior = self._module.torch_model.prior_of(row[None])
                found.append(prior.sample(torch.Generator().manual_seed(number))[0].numpy())
        return Decision(np.stack(found), None)


def policy_of(source: str, module: SkillModule, num_envs: int) -> Policy:
    """Create a policy of skills sampled from the ``prior`` or from N(0, I), or of ``uniform`` random actions."""
    if source == "uniform":
        return UniformPolicy(module.task_spec, num_envs)
    if source == "prior" and not module.maps_noise:
        sampled = SkillPolicy(module, latent_source="standard_normal", high_level=PriorSampler(module))
        return with_places(sampled, num_envs)
    return with_places(SkillPolicy(module, latent_source="prior" if source == "prior" else "standard_normal"), num_envs)


def with_places(policy: SkillPolicy, num_envs: int) -> SkillPolicy:
    """Prepare a policy for N environments, so that single places can be reset."""
    policy.reset([0] * num_envs)
    return policy


def rollout_outcomes(
    task: Task,
    policy_for: Callable[[int], Policy],
    episodes: int,
    threads: int,
    profile: str,
    on_episode: Callable[[Episode], None] = lambda episode: None,
) -> list[RolloutOutcome]:
    """Run evaluation episodes, with the same seeds for all policies."""
    num_envs = min(64, episodes)
    environments = task.make_env(num_envs, profile, threads)
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + episodes)
    outcomes = []
    for episode in run_episodes(environments, policy_for(num_envs), seeds):
        on_episode(episode)
        outcomes.append(
            RolloutOutcome(episode.seed, episode.success, task.metrics(episode), float(episode.reward.sum()))
        )
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def paths_from_one_state(task: Task, policy: Policy, num_paths: int, profile: str) -> NDArray[np.float64]:
    """Run several samples from one start state; returns (num_paths, T + 1, D) paths of the task's ``path_term`` [m].

    They go on where an episode would end, for up to 1000 steps.
    """
    assert task.path_term is not None
    environments = task.make_env(num_paths, profile)
    observation = environments.reset([EVALUATION_SEED] * num_paths)
    policy.reset(range(num_paths))
    column = task.spec.obs.slice(task.path_term)
    path = [vector_of(observation)[:, column].copy()]
    for _ in range(min(task.spec.horizon, _PATH_STEPS)):
        observation = environments.step(policy.act(observation).action).observation
        path.append(vector_of(observation)[:, column].copy())
    return np.stack(path, axis=1)
