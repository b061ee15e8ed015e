"""Collection of an agent's training data by rollouts in groups of environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.environment import RestorableVectorEnv
from reskill_core.rl.actor import Actor
from reskill_core.rl.config import AgentConfig
from reskill_core.rl.privileged import PrivilegedView
from reskill_core.rl.rollout import EnvironmentGroup, EpisodeStatistics, Rollout
from reskill_core.rl.transitions import SkillTransition, concatenate
from reskill_core.runtime.agent import agent_of
from reskill_core.runtime.networks import Weights
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import first_episode, run_rng
from reskill_core.spec import TaskSpec


@dataclass(frozen=True)
class Collected:
    """Training data of an iteration.

    Attributes:
        high_level: transitions of the skills that ended, ordered by environment; None if none did.
        low_level: transitions of all steps in order of time, with the environments of a step together; None without a
            residual, or if its weight is too small for training.
        episodes: statistics of the episodes that ended.
    """

    high_level: SkillTransition | None
    low_level: SkillTransition | None
    episodes: EpisodeStatistics


class Collector:
    """Collector of an agent's training data.

    Environments are divided into groups. Each group acts independently during an iteration, so that one thread computes
    actions while another one simulates. The data does not depend on the number of threads.

    A skill that is running at the end of an iteration continues in the next one, and is used for training there.

    Args:
        groups: groups of environments.
        module: the skills, with ``batch_invariant`` off, or the features of an agent without skills.
        task: the task.
        config: configuration of the agent.
        high_level: policy that chooses skills, if any.
        low_level: policy of the residual, if any.
        seed: seed of the run, for exploration and its episodes.
        threads: number of groups that act concurrently, at least one.
        estimator: weights of a state estimator that corrects observations; None without one.
    """

    def __init__(
        self,
        groups: Sequence[RestorableVectorEnv],
        module: SkillModule | ObservationFeatures,
        task: TaskSpec,
        config: AgentConfig,
        high_level: Actor | None,
        low_level: Actor | None,
        seed: int,
        threads: int = 1,
        estimator: Weights | None = None,
    ) -> None:
        self._config = config
        self._dims = module.latent_dim, task.action.dim
        self._threads = max(threads, 1)
        self._rng = run_rng(seed, "exploration")
        bounds = np.cumsum([0, *(group.num_envs for group in groups)])
        self._places = [np.arange(first, last) for first, last in pairwise(bounds)]
        self._num_envs = int(bounds[-1])
        first = first_episode(seed, "training")
        discounts = config.high_level.discount, config.low_level.discount
        self._groups = [
            EnvironmentGroup(
                group,
                agent_of(module, config, high_level, low_level, task=task, estimator=estimator),
                discounts,
                places,
                first + places,
                self._num_envs,
                PrivilegedView(group, module) if config.privileged_critics else None,
            )
            for group, places in zip(groups, self._places, strict=True)
        ]

    def collect(self, steps: int, weight: float, strengths: Float64Array | None = None) -> Collected:
        """Run a number of control steps in every environment.

        Args:
            steps: number T of control steps.
            weight: weight of the residual.
            strengths: (N,) strengths of the variation in episodes that start, from 0, nominal, to 1, as configured; by
                default 1.
        """
        values = np.ones(self._num_envs) if strengths is None else strengths
        latent_dim, action_dim = self._dims
        drawn = self._rng.standard_normal((steps, self._num_envs, latent_dim + action_dim), dtype=np.float32)

        def act(index: int) -> Rollout:
            noise, deviation = np.split(drawn[:, self._places[index]], [latent_dim], axis=2)
            return self._groups[index].act(noise, deviation, weight, values[self._places[index]])

        with ThreadPoolExecutor(self._threads) as pool:
            rollouts = list(pool.map(act, range(len(self._groups))))
        episodes = EpisodeStatistics()
        for rollout in rollouts:
            episodes.add(rollout.episodes)
        skills = [ended for rollout in rollouts for ended in rollout.skills]
        high = concatenate(skills).by_place() if skills else None
        return Collected(high, self._steps(rollouts) if weight >= self._config.min_weight else None, episodes)

    def state(self) -> dict[str, Any]:
        """Return the state that the next :meth:`collect` depends on, except for the networks."""
        state: dict[str, Any] = {"collector_rng": self._rng.bit_generator.state}
        for index, group in enumerate(self._groups):
            state |= {f"group{index}/{name}": array for name, array in group.state().items()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._rng.bit_generator.state = state["collector_rng"]
        for index, group in enumerate(self._groups):
            prefix = f"group{index}/"
            group.restore({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})

    @staticmethod
    def _steps(rollouts: Sequence[Rollout]) -> SkillTransition | None:
        """Transitions of the residual in all groups, without diverged steps."""
        in_time = [step for together in zip(*(r.steps for r in rollouts), strict=True) for step in together]
        if not in_time:
            return None
        valid = np.concatenate([rollout.valid for rollout in rollouts], axis=1).ravel()
        steps = concatenate(in_time)
        return steps if valid.all() else steps.take(valid)
