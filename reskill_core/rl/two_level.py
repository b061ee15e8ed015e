"""Experience of the two-level agent: N environments, a skill chosen every H steps, a residual in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reskill_core.rl.advantages import Decisions, generalised_advantages
from reskill_core.rl.config import AgentConfig
from reskill_core.rl.ppo import Experience, Ppo
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


@dataclass(frozen=True)
class Collected:
    """What an iteration brought.

    Attributes:
        high_level: decisions on skills; None where there are none.
        low_level: residuals; None where there is no residual or its weight is too small to learn from.
        episodes: the episodes that ended.
    """

    high_level: Experience[FloatArray] | None
    low_level: Experience[FloatArray] | None
    episodes: EpisodeStatistics


def low_level_dim(module: SkillModule, features_dim: int) -> int:
    """Entries of :func:`~reskill_core.runtime.agent.residual_input`."""
    return features_dim + module.latent_dim + module.task_spec.action.dim + 2


class TwoLevelCollector:
    """Lets the agent act and keeps what it needs to learn.

    A skill that has not ended when an iteration does goes on into the next one and is learnt from there. Rewards are
    scaled by one minus the level's discount, so that values are of the size of a single reward.

    Args:
        environments: where it acts.
        module: the skills, with ``batch_invariant`` off.
        task: the task.
        config: the agent.
        high_level: chooses skills, if there are any.
        low_level: the residual, if there is one.
        seed: of exploration; episodes take seeds from it on.
    """

    def __init__(
        self,
        environments: Environments,
        module: SkillModule,
        task: TaskSpec,
        config: AgentConfig,
        high_level: Ppo | None,
        low_level: Ppo | None,
        seed: int,
    ) -> None:
        self._envs, self._module, self._task, self._config = environments, module, task, config
        self._high, self._low = high_level, low_level
        self._skill_steps = config.steps_per_skill(module.horizon)
        self._rng = np.random.default_rng([seed, 3])
        self._next_seed = seed * 10_000_000
        count = environments.num_envs
        self._features = self._module.features(environments.reset(self._new_seeds(count)))
        self._latents = np.zeros((count, module.latent_dim), np.float32)
        self._skill_step = np.zeros(count, np.int64)
        self._returns = np.zeros(count)
        self._pending = _PendingSkills(count, self._features.shape[1], module.latent_dim)

    def collect(self, steps: int, weight: float) -> Collected:
        """Act for a number of control steps in every environment.

        Args:
            steps: control steps T.
            weight: of the residual.
        """
        module, config = self._module, self._config
        chooser = None if self._high is None else self._high.actor()
        high_discount = np.float32(config.high_level.discount)
        residual = None if self._low is None or weight <= 0.0 else _Residual(*self._low.actor(), weight, self._rng)
        finished: list[dict[str, NDArray[Any]]] = []
        tape: list[dict[str, NDArray[Any]]] = []
        statistics = EpisodeStatistics()
        for _ in range(steps):
            if chooser is None:
                decoded = np.zeros((len(self._features), self._task.action.dim), np.float32)
            else:
                due = np.flatnonzero(self._skill_step == 0)
                if due.size:
                    self._choose(due, *chooser)
                decoded = module.decode_features(self._features, self._latents)
            row: dict[str, NDArray[Any]] = {"features": self._features}
            action = decoded
            if residual is not None:
                phase = (self._skill_step / self._skill_steps).astype(np.float32)
                row |= residual.correct(self._features, self._latents, decoded, phase)
                action = decoded + np.float32(weight) * row["action"]
            result = self._envs.step(self._task.action.clip(action))
            row |= self._advance(result, high_discount, finished, statistics)
            tape.append(row)
        low = None
        if residual is not None and weight >= config.min_weight:
            low = self._low_experience(tape)
        high = None if self._high is None else self._high_experience(self._high, finished)
        return Collected(high, low, statistics)

    def state(self) -> dict[str, Any]:
        """Everything that the next :meth:`collect` depends on but the networks."""
        return {
            "environments": self._envs.state(),
            "latents": self._latents,
            "skill_step": self._skill_step,
            "returns": self._returns,
            "collector_rng": self._rng.bit_generator.state,
            "next_seed": self._next_seed,
            **{f"pending/{name}": array for name, array in vars(self._pending).items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`; entries of other owners are left alone."""
        self._envs.set_state(np.array(state["environments"]))
        self._features = self._module.features(self._envs.observation())
        self._latents, self._skill_step, self._returns = (
            np.array(state[name]) for name in ("latents", "skill_step", "returns")
        )
        self._rng.bit_generator.state = state["collector_rng"]
        self._next_seed = state["next_seed"]
        for name in vars(self._pending):
            setattr(self._pending, name, np.array(state[f"pending/{name}"]))

    # ------------------------------------------------------------------ one control step

    def _choose(self, due: NDArray[np.int64], mean: Mlp, std: FloatArray) -> None:
        features = self._features[due]
        centre = mean(features)
        drawn = self._rng.standard_normal(centre.shape, dtype=np.float32)
        noise = centre + std * drawn
        self._pending.begin(due, features, noise, _log_density(drawn, std))
        limited = np.clip(noise, -self._config.noise_limit, self._config.noise_limit)
        prior = self._config.latent_source == "prior"
        self._latents[due] = self._module.prior_features(limited, features) if prior else limited

    def _advance(
        self,
        result: StepOutcome,
        high_discount: np.float32,
        finished: list[dict[str, NDArray[Any]]],
        statistics: EpisodeStatistics,
    ) -> dict[str, NDArray[Any]]:
        """Take over where a step led, start new episodes; returns what the residual learns from it."""
        reward, ended = result.reward.astype(np.float32), result.done
        following = self._module.features(result.observation)
        self._pending.earn(reward, high_discount)
        self._skill_step = (self._skill_step + 1) % self._skill_steps
        over = np.flatnonzero((ended | (self._skill_step == 0)) & ~result.diverged)
        if over.size:
            finished.append(self._pending.finish(over, following, result.terminated, ended))
        row = {
            "reward": reward,
            "next_features": following,
            "terminated": result.terminated,
            "ended": ended,
            "valid": ~result.diverged,
        }
        self._returns += reward
        self._features = following
        if ended.any():
            places = np.flatnonzero(ended)
            statistics.returns += self._returns[places][~result.diverged[places]].tolist()
            statistics.successes += result.success[places][~result.diverged[places]].tolist()
            statistics.diverged += int(result.diverged.sum())
            self._returns[places] = 0.0
            self._skill_step[places] = 0
            observation = self._envs.reset(self._new_seeds(len(places)), places.tolist())
            self._features = following.copy()
            self._features[places] = self._module.features(observation[places])
        return row

    def _new_seeds(self, count: int) -> list[int]:
        seeds = list(range(self._next_seed, self._next_seed + count))
        self._next_seed += count
        return seeds

    # ------------------------------------------------------------------ what is learnt from

    def _low_experience(self, tape: list[dict[str, NDArray[Any]]]) -> Experience[FloatArray]:
        assert self._low is not None
        config = self._config.low_level
        columns = {name: np.stack([row[name] for row in tape]) for name in tape[0]}
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
            columns["log_prob"][valid],
            advantage[valid],
            (advantage + value)[valid],
        )

    def _high_experience(self, high_level: Ppo, finished: list[dict[str, NDArray[Any]]]) -> Experience[FloatArray]:
        config = self._config.high_level
        columns = {name: np.concatenate([row[name] for row in finished]) for name in finished[0]}
        # Environment by environment, each in order of time.
        order = np.argsort(columns["place"], kind="stable")
        columns = {name: array[order] for name, array in columns.items()}
        value, next_value = (high_level.values(columns[name]) for name in ("features", "next_features"))
        reward = columns["reward"] * np.float32(1 - config.discount)
        advantage = np.empty_like(value)
        bounds = np.searchsorted(columns["place"], np.arange(self._envs.num_envs + 1))
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


class _Residual:
    """The residual policy of an iteration."""

    def __init__(self, mean: Mlp, std: FloatArray, weight: float, rng: np.random.Generator) -> None:
        self._mean, self._std, self._weight, self._rng = mean, std, weight, rng

    def correct(
        self, features: FloatArray, latents: FloatArray, decoded: FloatArray, phase: FloatArray
    ) -> dict[str, NDArray[Any]]:
        inputs = residual_input(features, latents, decoded, phase, self._weight)
        drawn = self._rng.standard_normal(decoded.shape, dtype=np.float32)
        action = self._mean(inputs) + self._std * drawn
        return {"input": inputs, "action": action, "log_prob": _log_density(drawn, self._std)}


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
            "place": places,
            "next_features": following[places],
            "terminated": terminated[places],
            "ended": ended[places],
        }


def _log_density(drawn: FloatArray, std: FloatArray) -> FloatArray:
    """(N,) log density of a Gaussian where standard normal draws (N, A) have led [nats]."""
    density: FloatArray = (-0.5 * drawn**2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(axis=-1, dtype=np.float32)
    return density
