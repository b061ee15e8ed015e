"""Training rollouts of an agent in a group of environments, by the policy that is also deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, Float32Array, Float64Array, IntArray
from reskill_core.environment import Graded, RestorableVectorEnv, StepResult
from reskill_core.rl.transitions import RunningSkills, SkillTransition
from reskill_core.runtime.skill_policy import Decisions, SkillPolicy
from reskill_core.spec.observations import take_rows


@dataclass
class EpisodeStatistics:
    """Returns and successes of the episodes that ended in an iteration."""

    returns: list[float] = field(default_factory=list)
    successes: list[bool] = field(default_factory=list)
    diverged: int = 0

    def add(self, other: EpisodeStatistics) -> None:
        """Add the statistics of other episodes."""
        self.returns += other.returns
        self.successes += other.successes
        self.diverged += other.diverged


@dataclass(frozen=True)
class Rollout:
    """Rollout of a group of n environments over T control steps.

    Attributes:
        steps: transitions of the residual, one per control step; empty if the residual was not evaluated.
        valid: (T, n) whether the physics did not diverge in a step; other steps are not used for training.
        skills: transitions of the skills that ended, in order of time; those of the same step are together.
        episodes: statistics of the episodes that ended.
    """

    steps: list[SkillTransition]
    valid: BoolArray
    skills: list[SkillTransition]
    episodes: EpisodeStatistics


class EnvironmentGroup:
    """Group of environments that are stepped together.

    Args:
        environments: n environments.
        policy: policy to act with; it draws no random numbers itself.
        discounts: discounts of rewards per control step, of the high level and of the residual.
        places: (n,) indices of the environments among all groups.
        seeds: (n,) seeds of their first episodes.
        stride: difference between the seeds of an environment's consecutive episodes.
        privileged: returns (n, P) what only critics see in the current states; by default nothing.
    """

    def __init__(
        self,
        environments: RestorableVectorEnv,
        policy: SkillPolicy,
        discounts: tuple[float, float],
        places: IntArray,
        seeds: IntArray,
        stride: int,
        privileged: Callable[[], Float32Array] | None = None,
    ) -> None:
        self._envs, self._policy = environments, policy
        self._high_discount, self._low_discount = map(np.float32, discounts)
        self._places, self._seeds, self._stride = places, seeds.copy(), stride
        self._rows = np.arange(environments.num_envs)
        nothing = np.zeros((environments.num_envs, 0), np.float32)
        self._privileged = privileged or (lambda: nothing)
        policy.reset(seeds.tolist())
        self._features = policy.features(environments.reset(seeds.tolist()), self._rows)
        self._returns = np.zeros(len(self._rows))
        self._known = self._privileged()
        widths = self._features.shape[1], policy.module.latent_dim, self._known.shape[1]
        self._running = RunningSkills(len(self._rows), *widths)

    def act(self, noise: Float32Array, deviation: Float32Array, weight: float, strengths: Float64Array) -> Rollout:
        """Run T control steps.

        Args:
            noise: (T, n, Z) standard normal draws for the high level.
            deviation: (T, n, A) standard normal draws for the residual.
            weight: weight of the residual.
            strengths: (n,) strengths of the variation in episodes that start; only for ``Graded`` environments.
        """
        self._policy.residual_weight = weight
        rollout = Rollout([], np.ones(deviation.shape[:2], np.bool_), [], EpisodeStatistics())
        for step in range(len(deviation)):
            features = self._features
            decided = self._policy.decide(features, self._rows, noise[step], deviation[step])
            if decided.choice is not None:
                begun = decided.begun
                choice = decided.choice
                self._running.begin(begun, features[begun], self._known[begun], choice.value, choice.log_prob)
            result = self._envs.step(self._policy.task_spec.action.clip(decided.action.action))
            reward, following = result.reward.astype(np.float32), self._policy.features(result.observation, self._rows)
            known = self._privileged()
            if self._policy.decodes:
                self._finish_skills(decided, result, reward, following, known, rollout.skills)
            if decided.correction is not None:
                rollout.steps.append(self._step(features, decided, result, reward, following, known))
            rollout.valid[step] = ~result.diverged
            if result.diverged.any():
                self._cut(rollout, step, np.flatnonzero(result.diverged))
            self._returns += reward
            self._features, self._known = following, known
            if result.done.any():
                self._next_episodes(result, rollout.episodes, strengths)
        return rollout

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state that the next :meth:`act` depends on, except for the actors."""
        return {
            "environments": self._envs.state(),
            **({"strength": self._envs.strength.copy()} if isinstance(self._envs, Graded) else {}),
            **self._policy.state(),
            "features": self._features,
            "returns": self._returns,
            "seeds": self._seeds,
            **{f"pending/{name}": array for name, array in vars(self._running).items()},
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved :meth:`state`."""
        # Older states have no strength and nothing privileged: neither existed.
        if isinstance(self._envs, Graded) and "strength" in state:
            self._envs.strength[:] = state["strength"]
        self._envs.set_state(np.array(state["environments"]))
        self._policy.restore(state)
        # Older states have none: without a state estimator, they follow from the observations.
        self._features = (
            np.array(state["features"])
            if "features" in state
            else self._policy.features(self._envs.observation(), self._rows)
        )
        self._returns, self._seeds = (np.array(state[name]) for name in ("returns", "seeds"))
        self._known = self._privileged()
        for name, array in vars(self._running).items():
            setattr(self._running, name, np.array(state.get(f"pending/{name}", array)))

    def _finish_skills(
        self,
        decided: Decisions,
        result: StepResult,
        reward: Float32Array,
        following: Float32Array,
        known: Float32Array,
        finished: list[SkillTransition],
    ) -> None:
        """Add the rewards of a step to the running skills, and store those that have ended."""
        self._running.earn(reward, self._high_discount)
        over = np.flatnonzero((result.done | (self._policy.skill_step == 0)) & ~result.diverged)
        if over.size:
            length = decided.action.skill_step + 1
            ends = result.terminated, result.done
            finished.append(self._running.finish(over, length, following, known, *ends, self._places))

    def _step(
        self,
        features: Float32Array,
        decided: Decisions,
        result: StepResult,
        reward: Float32Array,
        following: Float32Array,
        known: Float32Array,
    ) -> SkillTransition:
        assert decided.correction is not None
        assert decided.inputs is not None
        decision, log_prob = decided.correction
        return SkillTransition(
            features=features,
            inputs=decided.inputs,
            decision=decision,
            log_prob=np.full_like(reward, np.nan) if log_prob is None else log_prob,
            reward=reward,
            discount=np.full_like(reward, self._low_discount),
            length=np.ones(len(reward), np.int64),
            next_features=following,
            terminated=result.terminated,
            ended=result.done,
            place=self._places,
            privileged=self._known,
            next_privileged=known,
        )

    def _cut(self, rollout: Rollout, step: int, rows: IntArray) -> None:
        """Mark the last valid transitions of diverged environments as ended, since the following ones are dropped."""
        if step and rollout.steps:
            before = rollout.steps[step - 1]
            ended = before.ended.copy()
            ended[rows] = True
            rollout.steps[step - 1] = replace(before, ended=ended)
        for place in self._places[rows]:
            for number in reversed(range(len(rollout.skills))):
                skills = rollout.skills[number]
                if (mine := skills.place == place).any():
                    rollout.skills[number] = replace(skills, ended=skills.ended | mine)
                    break

    def _next_episodes(self, result: StepResult, episodes: EpisodeStatistics, strengths: Float64Array) -> None:
        rows = np.flatnonzero(result.done)
        whole = rows[~result.diverged[rows]]
        episodes.returns += self._returns[whole].tolist()
        episodes.successes += result.success[whole].tolist()
        episodes.diverged += int(result.diverged.sum())
        self._returns[rows] = 0.0
        self._seeds[rows] += self._stride
        seeds = self._seeds[rows].tolist()
        self._policy.reset(seeds, rows)
        if isinstance(self._envs, Graded):
            self._envs.strength[rows] = strengths[rows]
        observation = self._envs.reset(seeds, rows.tolist())
        self._features = self._features.copy()
        self._features[rows] = self._policy.features(take_rows(observation, rows), rows)
        self._known = self._privileged()
