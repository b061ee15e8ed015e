"""Policy of skill modules and agents: maps observations to actions once per control step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, IntArray
from reskill_core.checkpoint import Checkpoint
from reskill_core.environment import Places
from reskill_core.errors import ConfigError, SpecError, require_choice
from reskill_core.models.config import MemoryConfig
from reskill_core.rl.actor import Actor, Decision, StandardNormalActor
from reskill_core.runtime.estimator import Estimator
from reskill_core.runtime.memory import Memory
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_action import SkillAction
from reskill_core.runtime.skill_module import SkillModule, no_noise_map
from reskill_core.seeding import episode_rng
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import vector_of

Mode = Literal["sample", "mode"]
LatentSource = Literal["prior", "standard_normal"]
MODES = ("sample", "mode")
LATENT_SOURCES = ("prior", "standard_normal")


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions of both levels in one control step for n places, as used in training.

    Attributes:
        action: the resulting action.
        begun: (m,) rows in which a new skill was chosen.
        choice: decision of the high level there; None if no skill was chosen.
        inputs: (n, I) inputs of the residual policy; None if it was not evaluated.
        correction: decision of the residual policy; None if it was not evaluated.
    """

    action: SkillAction
    begun: IntArray
    choice: Decision | None
    inputs: Float32Array | None
    correction: Decision | None


def residual_input(
    features: Float32Array, latents: Float32Array, decoded: Float32Array, phase: Float32Array, weight: float
) -> Float32Array:
    """Build the inputs (N, F + Z + A + 2) of the residual policy of an agent with skills.

    Args:
        features: (N, F) features of the observation.
        latents: (N, Z) latents of the running skills.
        decoded: (N, A) decoded actions of the skills.
        phase: (N,) progress of the skill, in [0, 1).
        weight: weight of the residual, in [0, 1].
    """
    known = np.full(len(features), weight, dtype=np.float32)
    return np.concatenate((features, latents, decoded, phase[:, None], known[:, None]), axis=-1, dtype=np.float32)


def residual_dim(module: SkillModule | ObservationFeatures, features: int) -> int:
    """Return the length I of the residual policy's inputs, given F features."""
    extra = module.latent_dim + module.task_spec.action.dim + 2 if isinstance(module, SkillModule) else 0
    return features + extra


class SkillPolicy:
    """Policy with skills in N places: a latent is chosen every H steps, and decoded and corrected in every step.

    It is a :class:`~reskill_core.policy.Policy`. Each place has its own skill clock and its own random stream, which
    depends only on its episode's seed.

    Args:
        module: the skills; for an agent without skills, the features of observations.
        mode: ``sample`` samples the high level's decisions, ``mode`` uses the most likely ones.
        latent_source: ``prior`` maps noise to a latent by the skill prior, ``standard_normal`` uses the noise itself
            as latent.
        high_level: policy that chooses the noise; without one it is N(0, I).
        residual: policy that corrects the decoded action, if any.
        residual_weight: weight of the residual; the residual is not evaluated if it is 0.
        noise_limit: the noise is limited to [-limit, limit].
        skill_steps: control steps until the next skill is chosen; None for the skills' own length.
        decodes: whether skills are decoded; without them only the residual acts.
        task: task to act in; by default that of the checkpoint.
        checkpoint: checkpoint of the policy, if not that of the skills.
        memory: what high level and residual remember of the last control steps.
        estimator: corrects observations before the agent gets them.

    Attributes:
        high_level: policy that chooses the noise.
        residual: policy that corrects the decoded action, if any.
        residual_weight: as given; may be changed between steps.
        latent_source: as given.
        noise_limit: as given.
        skill_steps: control steps between choices of a skill.
        decodes: as given.
        memory: memory of the last control steps, if there is any.
        estimator: as given.
    """

    def __init__(
        self,
        module: SkillModule | ObservationFeatures,
        mode: Mode = "sample",
        latent_source: LatentSource = "prior",
        high_level: Actor | None = None,
        residual: Actor | None = None,
        residual_weight: float = 1.0,
        noise_limit: float = math.inf,
        skill_steps: int | None = None,
        decodes: bool = True,
        task: TaskSpec | None = None,
        checkpoint: Checkpoint | None = None,
        memory: MemoryConfig | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        require_choice("mode", mode, MODES)
        require_choice("latent_source", latent_source, LATENT_SOURCES)
        self.module = module
        self._checkpoint = module.checkpoint if checkpoint is None else checkpoint
        self._task = self.checkpoint.task if task is None else task
        self._mode, self.latent_source = mode, latent_source
        self.high_level = StandardNormalActor(module.latent_dim) if high_level is None else high_level
        self.residual, self.residual_weight = residual, residual_weight
        self.noise_limit = np.float32(noise_limit)
        if decodes and not isinstance(module, SkillModule):
            raise ConfigError("without skills there is nothing to decode")
        if decodes and self.latent_source == "prior" and not self._skills.maps_noise:
            raise ConfigError(f"latent_source: {no_noise_map(self._skills.config.kind)}")
        self.skill_steps, self.decodes = skill_steps or module.horizon, decodes
        self.estimator = estimator
        self.memory: Memory | None = None
        if memory is not None and memory != MemoryConfig():
            width = module.features(self._task.obs.zeros(1)).shape[-1]
            self.memory = Memory(memory, width, self._task.action.dim)
        # One per place, only in mode ``sample``.
        self._rngs: list[np.random.Generator] = []
        self._start(0)

    @property
    def task_spec(self) -> TaskSpec:
        """Task to act in; for a skill module, its training task."""
        return self._task

    @property
    def checkpoint(self) -> Checkpoint:
        """Checkpoint of the agent or of the skill module."""
        if self._checkpoint is None:
            raise ConfigError("an agent without skills that is still learning has no checkpoint")
        return self._checkpoint

    @property
    def description(self) -> str:
        """Short description of the policy."""
        if self.checkpoint is self.module.checkpoint:
            return f"skills {self._mode}"
        return f"{self.checkpoint.kind} {self._mode}"

    @property
    def num_envs(self) -> int:
        """Number N of places; 0 before the first reset."""
        return len(self._skill_step)

    @property
    def skill_step(self) -> IntArray:
        """(N,) control steps since the start of the running skills; 0 if the next step chooses a new one."""
        return self._skill_step

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes: the next :meth:`act` chooses new skills for them.

        Args:
            seeds: seed of each episode.
            places: indices of episodes; None resets all, and sets their number.

        Raises:
            SpecError: places and seeds differ in number, or a place is out of range.
        """
        if places is None:
            self._start(len(seeds))
            self._rngs = [episode_rng(seed, "policy") for seed in seeds if self._mode == "sample"]
            return
        if len(places) != len(seeds) or any(not 0 <= place < self.num_envs for place in places):
            raise SpecError(f"cannot reset {list(places)} with {len(seeds)} seeds: there are {self.num_envs} envs")
        rows = np.asarray(places, np.int64)
        self._skill_step[rows] = 0
        if self.memory is not None:
            self.memory.reset(rows)
        if self.estimator is not None:
            self.estimator.reset(rows)
        if self._mode == "sample":
            for place, seed in zip(places, seeds, strict=True):
                self._rngs[place] = episode_rng(seed, "policy")

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Choose the actions of one control step.

        A row with a NaN gives a NaN action and does not affect other rows; the gate refuses such actions.

        Args:
            observations: one per place: (n, O), or a mapping if the layout has images.
            places: indices of episodes, without duplicates; all by default. Skills in other places do not advance.

        Raises:
            SpecError: the shape is wrong, for instance before the first :meth:`reset`.
        """
        where = np.arange(self.num_envs) if places is None else np.asarray(places)
        vectors = np.asarray(vector_of(observations))
        if vectors.shape != (len(where), self._task.obs.dim):
            raise SpecError(
                f"observations have shape {vectors.shape}, expected ({len(where)}, {self._task.obs.dim}): "
                "one row for each place given to reset()"
            )
        return self._decide(self.features(observations, where), where, self._drawn, None).action

    def features(self, observations: Any, places: IntArray) -> Float32Array:
        """Compute the inputs of :meth:`decide` for observations in places: features of the module, and the memory.

        With an estimator, which takes each observation into account, it has to be called once for each control step.
        """
        if self.estimator is not None:
            observations = self.estimator.estimate(np.asarray(vector_of(observations)), places)
        found = self.module.features(observations)
        return found if self.memory is None else self.memory.extended(found, places)

    def decide(
        self,
        features: Float32Array,
        places: IntArray,
        noise: Float32Array | None = None,
        deviation: Float32Array | None = None,
    ) -> Decisions:
        """Choose the actions of one control step at features of the module; used by :meth:`act` and in training.

        Args:
            features: features of n observations, as returned by :meth:`features`.
            places: (n,) indices of episodes.
            noise: (n, Z) standard normal draws for the high level; None uses the most likely decision.
            deviation: (n, A) standard normal draws for the residual; None uses the most likely decision.
        """
        return self._decide(features, places, lambda rows, _: None if noise is None else noise[rows], deviation)

    def _decide(
        self,
        features: Float32Array,
        places: IntArray,
        draw: Callable[[IntArray, IntArray], Float32Array | None],
        deviation: Float32Array | None,
    ) -> Decisions:
        plain = features if self.memory is None else self.memory.plain(features)
        skill_step = self._skill_step[places]
        begun = np.flatnonzero(skill_step == 0)
        choice = None
        if self.decodes and begun.size:
            choice = self._choose(features[begun], places[begun], draw(begun, places[begun]))
        latents = self._latents[places]
        if self.decodes:
            decoded, self._states[places] = self._skills.act(plain, self._states[places])
        else:
            decoded = np.zeros((len(places), self._task.action.dim), np.float32)
        inputs, correction, action, residual, weight = None, None, decoded, np.zeros_like(decoded), 0.0
        if self.residual is not None and self.residual_weight > 0.0:
            weight = self.residual_weight
            inputs = features.reshape(len(places), -1)
            # Without skills the features are the only inputs.
            if isinstance(self.module, SkillModule):
                phase = (skill_step / self.skill_steps).astype(np.float32)
                inputs = residual_input(inputs, latents, decoded, phase, weight)
            correction = self.residual.act(inputs[:, None] if self.module.batch_invariant else inputs, deviation)
            residual = correction.value
            action = self._task.action.clip(decoded + np.float32(weight) * residual)
        self._skill_step[places] = (skill_step + 1) % self.skill_steps
        if self.memory is not None:
            self.memory.remember(plain, action, places)
        if self.estimator is not None:
            self.estimator.remember(action, places)
        return Decisions(
            SkillAction(
                action=action,
                decoded_action=decoded,
                residual=residual,
                residual_weight=np.full(len(places), weight, dtype=np.float32),
                latent=latents,
                skill_step=skill_step,
            ),
            begun,
            choice,
            inputs,
            correction,
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the running skills' state, which the next :meth:`decide` depends on."""
        kept = {"latents": self._latents, "decoder_states": self._states, "skill_step": self._skill_step}
        state = {name: array.copy() for name, array in kept.items()}
        for part in (self.memory, self.estimator):
            state |= part.state() if part is not None else {}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._latents, self._skill_step = (np.array(state[name]) for name in ("latents", "skill_step"))
        # Older states have none: the only decoder then had no state but the latent.
        self._states = np.array(state.get("decoder_states", self._latents))
        if self.memory is not None:
            self.memory.restore(state)
        if self.estimator is not None:
            self.estimator.restore(state)

    @property
    def _skills(self) -> SkillModule:
        assert isinstance(self.module, SkillModule)
        return self.module

    def _start(self, count: int) -> None:
        self._latents = np.zeros((count, self.module.latent_dim), np.float32)
        self._states = np.zeros((count, self.module.state_dim), np.float32)
        self._skill_step = np.zeros(count, np.int64)
        if self.memory is not None:
            self.memory.start(count)
        if self.estimator is not None:
            self.estimator.start(count)

    def _drawn(self, rows: IntArray, places: IntArray) -> Float32Array | None:
        """(n, Z) draws from the random streams of the episodes in those places, where skills start."""
        if self._mode == "mode":
            return None
        return np.stack([self._rngs[place].standard_normal(self.module.latent_dim, np.float32) for place in places])

    def _choose(self, features: Float32Array, places: IntArray, drawn: Float32Array | None) -> Decision:
        choice = self.high_level.act(features, drawn)
        noise = np.clip(choice.value, -self.noise_limit, self.noise_limit)
        plain = features if self.memory is None else self.memory.plain(features)
        latents = self._skills.prior_features(noise, plain) if self.latent_source == "prior" else noise
        self._latents[places], self._states[places] = latents, self._skills.begin(plain, latents)
        return choice
