"""Experience of the two-level agent: groups of environments that act side by side, and what both levels learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.rl.acting import EnvironmentGroup, Environments, EpisodeStatistics, Policy, Tape
from reskill_core.rl.advantages import Decisions, generalised_advantages
from reskill_core.rl.config import AgentConfig
from reskill_core.rl.ppo import Experience, Ppo
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import first_episode, run_rng
from reskill_core.spec import TaskSpec

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Collected:
    """What an iteration brought.

    Attributes:
        high_level: decisions on skills; None where no skill ended.
        low_level: residuals; None where there is no residual or its weight is too small to learn from.
        episodes: the episodes that ended.
    """

    high_level: Experience | None
    low_level: Experience | None
    episodes: EpisodeStatistics


def low_level_dim(module: SkillModule, features_dim: int) -> int:
    """Entries of :func:`~reskill_core.runtime.agent.residual_input`."""
    return features_dim + module.latent_dim + module.task_spec.action.dim + 2


class TwoLevelCollector:
    """Lets the agent act and keeps what it needs to learn.

    Environments come in groups. A group acts on its own for as long as an iteration lasts, so that one thread computes
    what to do next while another one simulates. What is collected does not depend on the number of threads.

    A skill that has not ended when an iteration does goes on into the next one and is learnt from there. Rewards are
    scaled by one minus the level's discount, so that values are of the size of a single reward.

    Args:
        groups: where it acts.
        module: the skills, with ``batch_invariant`` off.
        task: the task.
        config: the agent.
        high_level: chooses skills, if there are any.
        low_level: the residual, if there is one.
        seed: of the run, for exploration and its episodes.
        threads: groups that act at the same time, at least one.
    """

    def __init__(
        self,
        groups: Sequence[Environments],
        module: SkillModule,
        task: TaskSpec,
        config: AgentConfig,
        high_level: Ppo | None,
        low_level: Ppo | None,
        seed: int,
        threads: int = 1,
    ) -> None:
        self._config, self._high, self._low = config, high_level, low_level
        self._dims = module.latent_dim, task.action.dim
        self._threads = max(threads, 1)
        self._rng = run_rng(seed, "exploration")
        bounds = np.cumsum([0, *(group.num_envs for group in groups)])
        self._places = [np.arange(first, last) for first, last in pairwise(bounds)]
        self._num_envs = int(bounds[-1])
        first = first_episode(seed, "training")
        self._groups = [
            EnvironmentGroup(group, module, task, config, places, first + places, self._num_envs)
            for group, places in zip(groups, self._places, strict=True)
        ]

    def collect(self, steps: int, weight: float) -> Collected:
        """Act for a number of control steps in every environment.

        Args:
            steps: control steps T.
            weight: of the residual.
        """
        latent_dim, action_dim = self._dims
        chooser = None if self._high is None else Policy(*self._high.actor())
        residual = None if self._low is None or weight <= 0.0 else Policy(*self._low.actor())
        drawn = self._rng.standard_normal((steps, self._num_envs, latent_dim + action_dim), dtype=np.float32)

        def act(index: int) -> Tape:
            noise, deviation = np.split(drawn[:, self._places[index]], [latent_dim], axis=2)
            return self._groups[index].act(chooser, residual, noise, deviation, weight)

        with ThreadPoolExecutor(self._threads) as pool:
            tapes = list(pool.map(act, range(len(self._groups))))
        low = None
        if residual is not None and weight >= self._config.min_weight:
            columns = {name: np.concatenate([tape.steps[name] for tape in tapes], axis=1) for name in tapes[0].steps}
            low = self._low_experience(columns, residual, drawn[..., latent_dim:])
        finished = [skills for tape in tapes for skills in tape.finished]
        high = self._high_experience(finished) if finished else None
        episodes = EpisodeStatistics()
        for tape in tapes:
            episodes.add(tape.episodes)
        return Collected(high, low, episodes)

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

    # ------------------------------------------------------------------ what is learnt from

    def _low_experience(self, columns: dict[str, NDArray[Any]], residual: Policy, deviation: FloatArray) -> Experience:
        assert self._low is not None
        config = self._config.low_level
        value, next_value = (self._low.values(columns[name]) for name in ("features", "next_features"))
        reward = columns["reward"] * np.float32(1 - config.discount)
        discount = np.full_like(reward, config.discount)
        decisions = Decisions(reward, discount, value, next_value, columns["terminated"], columns["ended"])
        advantage = generalised_advantages(decisions, config.trace)
        valid = columns["valid"]
        return Experience(
            columns["input"][valid],
            columns["features"][valid],
            columns["action"][valid],
            residual.log_density(deviation)[valid],
            advantage[valid],
            (advantage + value)[valid],
        )

    def _high_experience(self, finished: list[dict[str, NDArray[Any]]]) -> Experience:
        assert self._high is not None
        config = self._config.high_level
        columns = {name: np.concatenate([skills[name] for skills in finished]) for name in finished[0]}
        # Environment by environment, each in order of time.
        order = np.argsort(columns["place"], kind="stable")
        columns = {name: array[order] for name, array in columns.items()}
        value, next_value = (self._high.values(columns[name]) for name in ("features", "next_features"))
        reward = columns["reward"] * np.float32(1 - config.discount)
        advantage = np.empty_like(value)
        bounds = np.searchsorted(columns["place"], np.arange(self._num_envs + 1))
        for first, last in pairwise(bounds):
            mine = (slice(first, last), None)
            decisions = Decisions(
                reward[mine],
                columns["discount"][mine],
                value[mine],
                next_value[mine],
                columns["terminated"][mine],
                columns["ended"][mine],
            )
            if last > first:
                advantage[first:last] = generalised_advantages(decisions, config.trace)[:, 0]
        return Experience(
            columns["features"],
            columns["features"],
            columns["noise"],
            columns["log_prob"],
            advantage,
            advantage + value,
        )
