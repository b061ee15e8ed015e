"""Experience of an agent: groups of environments that act side by side, and what both levels learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from reskill_core.environment import RestorableVectorEnv
from reskill_core.rl.algorithm import Algorithm
from reskill_core.rl.config import AgentConfig
from reskill_core.rl.rollout import EnvironmentGroup, EpisodeStatistics, Rollout
from reskill_core.rl.transitions import SkillTransition, concatenate
from reskill_core.runtime.agent import agent_of
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import first_episode, run_rng
from reskill_core.spec import TaskSpec


@dataclass(frozen=True)
class Collected:
    """What an iteration brought.

    Attributes:
        high_level: the skills that ended, environment by environment; None where none did.
        low_level: the steps, in order of time, those of all environments together; None where there is no residual or
            its weight is too small to learn from.
        episodes: the episodes that ended.
    """

    high_level: SkillTransition | None
    low_level: SkillTransition | None
    episodes: EpisodeStatistics


class Collector:
    """Lets an agent act and keeps what it needs to learn.

    Environments come in groups. A group acts on its own for as long as an iteration lasts, so that one thread computes
    what to do next while another one simulates. What is collected does not depend on the number of threads.

    A skill that has not ended when an iteration does goes on into the next one and is learnt from there.

    Args:
        groups: where it acts.
        module: the skills, with ``batch_invariant`` off, or the features of an agent that has none.
        task: the task.
        config: the agent.
        high_level: chooses skills, if there are any.
        low_level: the residual, if there is one.
        seed: of the run, for exploration and its episodes.
        threads: groups that act at the same time, at least one.
    """

    def __init__(
        self,
        groups: Sequence[RestorableVectorEnv],
        module: SkillModule | ObservationFeatures,
        task: TaskSpec,
        config: AgentConfig,
        high_level: Algorithm | None,
        low_level: Algorithm | None,
        seed: int,
        threads: int = 1,
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
                agent_of(module, config, high_level, low_level, task=task),
                discounts,
                places,
                first + places,
                self._num_envs,
            )
            for group, places in zip(groups, self._places, strict=True)
        ]

    def collect(self, steps: int, weight: float) -> Collected:
        """Act for a number of control steps in every environment.

        Args:
            steps: control steps T.
            weight: of the residual.
        """
        latent_dim, action_dim = self._dims
        drawn = self._rng.standard_normal((steps, self._num_envs, latent_dim + action_dim), dtype=np.float32)

        def act(index: int) -> Rollout:
            noise, deviation = np.split(drawn[:, self._places[index]], [latent_dim], axis=2)
            return self._groups[index].act(noise, deviation, weight)

        with ThreadPoolExecutor(self._threads) as pool:
            rollouts = list(pool.map(act, range(len(self._groups))))
        episodes = EpisodeStatistics()
        for rollout in rollouts:
            episodes.add(rollout.episodes)
        skills = [ended for rollout in rollouts for ended in rollout.skills]
        high = concatenate(skills).by_place() if skills else None
        return Collected(high, self._steps(rollouts) if weight >= self._config.min_weight else None, episodes)

    def state(self) -> dict[str, Any]:
        """Everything that the next :meth:`collect` depends on but the networks."""
        state: dict[str, Any] = {"collector_rng": self._rng.bit_generator.state}
        for index, group in enumerate(self._groups):
            state |= {f"group{index}/{name}": array for name, array in group.state().items()}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`; entries of other owners are left alone."""
        self._rng.bit_generator.state = state["collector_rng"]
        for index, group in enumerate(self._groups):
            prefix = f"group{index}/"
            group.restore({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})

    @staticmethod
    def _steps(rollouts: Sequence[Rollout]) -> SkillTransition | None:
        """The residual's transitions of all groups, those in which the physics held."""
        in_time = [step for together in zip(*(r.steps for r in rollouts), strict=True) for step in together]
        if not in_time:
            return None
        valid = np.concatenate([rollout.valid for rollout in rollouts], axis=1).ravel()
        steps = concatenate(in_time)
        return steps if valid.all() else steps.take(valid)
