"""Acting: a group of environments, a skill chosen every H steps, a residual in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.rl.config import AgentConfig
from reskill_core.rl.ppo import log_density
from reskill_core.runtime.agent import residual_input
from reskill_core.runtime.networks import Mlp
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.spec import TaskSpec

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class StepOutcome(Protocol):
    """What a control step led to, for each of N environments; (N, O) observation, the rest (N,)."""

    @property
    def observation(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def reward(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def success(self) -> BoolArray: ...  # noqa: D102
    @property
    def terminated(self) -> BoolArray: ...  # noqa: D102
    @property
    def diverged(self) -> BoolArray: ...  # noqa: D102
    @property
    def done(self) -> BoolArray: ...  # noqa: D102


class Environments(Protocol):
    """A batched simulator."""

    num_envs: int

    def reset(self, seeds: Sequence[int], indices: Sequence[int] | None = None) -> NDArray[np.float64]:
        """Start episodes; (N, O) observations of all."""

    def step(self, actions: FloatArray) -> StepOutcome:
        """Advance all by one control period with actions (N, A)."""

    def observation(self) -> NDArray[np.float64]:
        """(N, O) current observations."""

    def state(self) -> NDArray[np.float64]:
        """Complete state of all environments."""

    def set_state(self, rows: NDArray[np.float64]) -> None:
        """Inverse of :meth:`state`."""


@dataclass
class EpisodeStatistics:
    """Returns and successes of the episodes that ended while collecting."""

    returns: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)
    diverged: int = 0

    def add(self, other: EpisodeStatistics) -> None:
        """Count others as well."""
        self.returns += other.returns
        self.successes += other.successes
        self.diverged += other.diverged


@dataclass
class Tape:
    """What a group of n environments did in an iteration of T control steps.

    Attributes:
        steps: what the residual learns from, (T, n, ...) each.
        finished: the skills that ended, in order of time; each entry holds those that ended together.
        episodes: the episodes that ended.
    """

    steps: dict[str, NDArray[Any]]
    finished: list[dict[str, NDArray[Any]]]
    episodes: EpisodeStatistics


class Policy:
    """The Gaussian policy of an iteration."""

    def __init__(self, mean: Mlp, std: FloatArray) -> None:
        self._mean, self._std = mean, std

    def draw(self, inputs: FloatArray, drawn: FloatArray) -> FloatArray:
        """(n, A) decisions that standard normal draws (n, A) lead to."""
        return self._mean(inputs) + self._std * drawn

    def log_density(self, drawn: FloatArray) -> FloatArray:
        """(...,) log densities of what draws (..., A) led to [nats]."""
        return log_density(drawn, np.log(self._std))


class EnvironmentGroup:
    """Environments that are stepped together.

    Args:
        environments: n of them.
        module: the skills.
        task: the task.
        config: the agent.
        places: (n,) numbers of the environments among all.
        seeds: (n,) of their first episodes.
        stride: from the seed of an environment's episode to that of its next one.
    """

    def __init__(
        self,
        environments: Environments,
        module: SkillModule,
        task: TaskSpec,
        config: AgentConfig,
        places: NDArray[np.int64],
        seeds: NDArray[np.int64],
        stride: int,
    ) -> None:
        self._envs, self._module, self._task, self._config = environments, module, task, config
        self._skill_steps = config.steps_per_skill(module.horizon)
        self._high_discount = np.float32(config.high_level.discount)
        self._places, self._seeds, self._stride = places, seeds, stride
        count = environments.num_envs
        self._features = module.features(environments.reset(seeds.tolist()))
        self._latents = np.zeros((count, module.latent_dim), np.float32)
        self._skill_step = np.zeros(count, np.int64)
        self._returns = np.zeros(count)
        self._pending = _PendingSkills(count, self._features.shape[1], module.latent_dim)

    def act(
        self,
        chooser: Policy | None,
        residual: Policy | None,
        noise: FloatArray,
        deviation: FloatArray,
        weight: float,
    ) -> Tape:
        """Act for T control steps.

        Args:
            chooser: chooses skills; without it nothing is decoded.
            residual: corrects what is decoded.
            noise: (T, n, Z) standard normal draws of the chooser.
            deviation: (T, n, A) standard normal draws of the residual.
            weight: of the correction.
        """
        module, action_spec = self._module, self._task.action
        nothing = np.zeros(deviation.shape[1:], np.float32)
        rows: list[dict[str, NDArray[Any]]] = []
        finished: list[dict[str, NDArray[Any]]] = []
        episodes = EpisodeStatistics()
        for step in range(len(deviation)):
            decoded = nothing
            if chooser is not None:
                due = np.flatnonzero(self._skill_step == 0)
                if due.size:
                    self._choose(due, chooser, noise[step, due])
                decoded = module.decode_features(self._features, self._latents)
            row: dict[str, NDArray[Any]] = {"features": self._features}
            action = decoded
            if residual is not None:
                phase = (self._skill_step / self._skill_steps).astype(np.float32)
                row["input"] = residual_input(self._features, self._latents, decoded, phase, weight)
                row["action"] = residual.draw(row["input"], deviation[step])
                action = decoded + np.float32(weight) * row["action"]
            result = self._envs.step(action_spec.clip(action))
            row |= self._advance(result, chooser is not None, finished, episodes)
            rows.append(row)
        return Tape({name: np.stack([row[name] for row in rows]) for name in rows[0]}, finished, episodes)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next :meth:`act` depends on but the policies."""
        return {
            "environments": self._envs.state(),
            "latents": self._latents,
            "skill_step": self._skill_step,
            "returns": self._returns,
            "seeds": self._seeds,
            **{f"pending/{name}": array for name, array in vars(self._pending).items()},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`state`."""
        self._envs.set_state(np.array(state["environments"]))
        self._features = self._module.features(self._envs.observation())
        self._latents, self._skill_step, self._returns, self._seeds = (
            np.array(state[name]) for name in ("latents", "skill_step", "returns", "seeds")
        )
        for name in vars(self._pending):
            setattr(self._pending, name, np.array(state[f"pending/{name}"]))

    def _choose(self, due: NDArray[np.int64], chooser: Policy, drawn: FloatArray) -> None:
        features = self._features[due]
        noise = chooser.draw(features, drawn)
        self._pending.begin(due, features, noise, chooser.log_density(drawn))
        limited = np.clip(noise, -self._config.noise_limit, self._config.noise_limit)
        prior = self._config.latent_source == "prior"
        self._latents[due] = self._module.prior_features(limited, features) if prior else limited

    def _advance(
        self,
        result: StepOutcome,
        chosen: bool,
        finished: list[dict[str, NDArray[Any]]],
        episodes: EpisodeStatistics,
    ) -> dict[str, NDArray[Any]]:
        """Take over where a step led, start new episodes; returns what the residual learns from it."""
        reward, ended = result.reward.astype(np.float32), result.done
        following = self._module.features(result.observation)
        self._skill_step = (self._skill_step + 1) % self._skill_steps
        if chosen:
            self._pending.earn(reward, self._high_discount)
            over = np.flatnonzero((ended | (self._skill_step == 0)) & ~result.diverged)
            if over.size:
                skills = self._pending.finish(over, following, result.terminated, ended)
                finished.append({**skills, "place": self._places[over]})
        self._returns += reward
        self._features = following
        if ended.any():
            places = np.flatnonzero(ended)
            whole = places[~result.diverged[places]]
            episodes.returns += self._returns[whole].tolist()
            episodes.successes += result.success[whole].tolist()
            episodes.diverged += int(result.diverged.sum())
            self._returns[places] = 0.0
            self._skill_step[places] = 0
            self._seeds[places] += self._stride
            observation = self._envs.reset(self._seeds[places].tolist(), places.tolist())
            self._features = following.copy()
            self._features[places] = self._module.features(observation[places])
        return {
            "reward": reward,
            "next_features": following,
            "terminated": result.terminated,
            "ended": ended,
            "valid": ~result.diverged,
        }


class _PendingSkills:
    """The running skill of every environment, from its choice to its end."""

    def __init__(self, count: int, features_dim: int, latent_dim: int) -> None:
        self.features = np.zeros((count, features_dim), np.float32)
        self.noise = np.zeros((count, latent_dim), np.float32)
        self.log_prob, self.reward = np.zeros((2, count), np.float32)
        self.discount = np.ones(count, np.float32)

    def begin(self, places: NDArray[np.int64], features: FloatArray, noise: FloatArray, log_prob: FloatArray) -> None:
        self.features[places], self.noise[places], self.log_prob[places] = features, noise, log_prob
        self.reward[places], self.discount[places] = 0.0, 1.0

    def earn(self, reward: FloatArray, discount: np.float32) -> None:
        self.reward += self.discount * reward
        self.discount *= discount

    def finish(
        self, places: NDArray[np.int64], following: FloatArray, terminated: BoolArray, ended: BoolArray
    ) -> dict[str, NDArray[Any]]:
        kept = {name: array[places].copy() for name, array in vars(self).items()}
        return {
            **kept,
            "next_features": following[places],
            "terminated": terminated[places],
            "ended": ended[places],
        }
