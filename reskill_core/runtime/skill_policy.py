"""The skill policy: observation in, action out, once per control step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.environment import Places
from reskill_core.errors import ConfigError, SpecError, require_choice
from reskill_core.rl.actor import Actor, Decision, StandardNormalActor
from reskill_core.runtime.observation_features import ObservationFeatures
from reskill_core.runtime.skill_action import SkillAction
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import episode_rng
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import vector_of

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Mode = Literal["sample", "mode"]
LatentSource = Literal["prior", "standard_normal"]
MODES = ("sample", "mode")
LATENT_SOURCES = ("prior", "standard_normal")


@dataclass(frozen=True, slots=True)
class Decisions:
    """What both levels decided in one control step in n places, as learning needs it.

    Attributes:
        action: what came of it.
        begun: (m,) rows of the n in which a skill was chosen.
        choice: what the high level decided there; None where no skill was.
        inputs: (n, I) what the residual saw; None where none was asked.
        correction: what the residual decided; None where none was asked.
    """

    action: SkillAction
    begun: IntArray
    choice: Decision | None
    inputs: FloatArray | None
    correction: Decision | None


def residual_input(
    features: FloatArray, latents: FloatArray, decoded: FloatArray, phase: FloatArray, weight: float
) -> FloatArray:
    """What the residual of an agent with skills sees, (N, F + Z + A + 2).

    Args:
        features: (N, F) of the observation.
        latents: (N, Z) of the running skills.
        decoded: (N, A) actions that the skills want.
        phase: (N,) share of the skill that is over, in [0, 1).
        weight: of the correction, in [0, 1].
    """
    known = np.full(len(features), weight, dtype=np.float32)
    return np.concatenate((features, latents, decoded, phase[:, None], known[:, None]), axis=-1, dtype=np.float32)


def residual_dim(module: SkillModule | ObservationFeatures, features: int) -> int:
    """Entries I of what the residual sees, of F features."""
    extra = module.latent_dim + module.task_spec.action.dim + 2 if isinstance(module, SkillModule) else 0
    return features + extra


class SkillPolicy:
    """Skills that run in N places: a latent is chosen every H steps, decoded and corrected in every step.

    It is a :class:`~reskill_core.policy.Policy`. Each place keeps its own skill clock, and its own random stream, which
    depends on its episode's seed alone.

    Args:
        module: the skills; of an agent that has none, the features of observations.
        mode: ``sample`` draws what the high level decides, ``mode`` takes the most likely.
        latent_source: ``prior`` maps noise to a latent by the skill prior, ``standard_normal`` takes the noise itself
            as latent.
        high_level: chooses the noise; without one it is N(0, I).
        residual: corrects the decoded action, if there is one.
        residual_weight: weight of the correction; the residual is not asked where it is 0.
        noise_limit: the noise is limited to [-limit, limit].
        skill_steps: control steps after which the next skill is chosen; None takes the skills' own length.
        decodes: whether skills are decoded; without them the residual acts alone.
        task: in which it acts; by default that of the checkpoint.
        checkpoint: what it was made from, if not the skills' alone.

    Attributes:
        residual_weight: as given; may be changed between two steps.
        skill_steps: control steps from one choice of a skill to the next.
        decodes: as given.
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
    ) -> None:
        require_choice("mode", mode, MODES)
        require_choice("latent_source", latent_source, LATENT_SOURCES)
        self.module = module
        self._checkpoint = module.checkpoint if checkpoint is None else checkpoint
        self._task = self.checkpoint.task if task is None else task
        self._mode, self._from_prior = mode, latent_source == "prior"
        self._high_level = StandardNormalActor(module.latent_dim) if high_level is None else high_level
        self._residual, self.residual_weight = residual, residual_weight
        self._noise_limit = np.float32(noise_limit)
        if decodes and not isinstance(module, SkillModule):
            raise ConfigError("without skills there is nothing to decode")
        self.skill_steps, self.decodes = skill_steps or module.horizon, decodes
        # One for each place, in mode ``sample`` only.
        self._rngs: list[np.random.Generator] = []
        self._start(0)

    @property
    def task_spec(self) -> TaskSpec:
        """The task it acts in; of skills alone, the one they were learnt for."""
        return self._task

    @property
    def checkpoint(self) -> Checkpoint:
        """What it was made from: an agent's, or that of the skills alone."""
        if self._checkpoint is None:
            raise ConfigError("an agent without skills that is still learning has no checkpoint")
        return self._checkpoint

    @property
    def description(self) -> str:
        """What acts, in a few words."""
        if self.checkpoint is self.module.checkpoint:
            return f"skills {self._mode}"
        return f"{self.checkpoint.kind} {self._mode}"

    @property
    def num_envs(self) -> int:
        """Number N of places; 0 before the first reset."""
        return len(self._skill_step)

    @property
    def skill_step(self) -> IntArray:
        """(N,) control steps that the running skills have lasted; 0 where the next step chooses one."""
        return self._skill_step

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start episodes: the next :meth:`act` chooses new skills for them.

        Args:
            seeds: seed of each episode.
            places: where they start; None resets all, and fixes their number.

        Raises:
            SpecError: places and seeds differ in number, or a place is out of range.
        """
        if places is None:
            self._start(len(seeds))
            self._rngs = [episode_rng(seed, "policy") for seed in seeds if self._mode == "sample"]
            return
        if len(places) != len(seeds) or any(not 0 <= place < self.num_envs for place in places):
            raise SpecError(f"cannot reset {list(places)} with {len(seeds)} seeds: there are {self.num_envs} envs")
        self._skill_step[np.asarray(places, np.int64)] = 0
        if self._mode == "sample":
            for place, seed in zip(places, seeds, strict=True):
                self._rngs[place] = episode_rng(seed, "policy")

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Decide one control step.

        A row with a NaN gives a NaN action and leaves the other rows alone; refusing it is the gate's task.

        Args:
            observations: one for each place: (n, O), or a mapping where the layout has images.
            places: where, each at most once; everywhere by default. Skills in other places stand still.

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
        return self.decide(self.module.features(observations), where, self._drawn(where)).action

    def decide(
        self,
        features: FloatArray,
        places: IntArray,
        noise: FloatArray | None = None,
        deviation: FloatArray | None = None,
    ) -> Decisions:
        """Decide one control step at features of the module; :meth:`act` and learning both do it by this.

        Args:
            features: of n observations, as the module gives them.
            places: (n,) where.
            noise: (n, Z) standard normal draws for the high level; None takes the most likely.
            deviation: (n, A) standard normal draws for the residual; None takes the most likely.
        """
        skill_step = self._skill_step[places]
        begun = np.flatnonzero(skill_step == 0)
        choice = None
        if self.decodes and begun.size:
            choice = self._choose(features[begun], places[begun], None if noise is None else noise[begun])
        latents = self._latents[places]
        if self.decodes:
            decoded, self._states[places] = self._skills.act(features, self._states[places])
        else:
            decoded = np.zeros((len(places), self._task.action.dim), np.float32)
        inputs, correction, action, residual, weight = None, None, decoded, np.zeros_like(decoded), 0.0
        if self._residual is not None and self.residual_weight > 0.0:
            weight = self.residual_weight
            inputs = features.reshape(len(places), -1)
            # Without skills there is nothing else to know.
            if isinstance(self.module, SkillModule):
                phase = (skill_step / self.skill_steps).astype(np.float32)
                inputs = residual_input(inputs, latents, decoded, phase, weight)
            correction = self._residual.act(inputs[:, None] if self.module.batch_invariant else inputs, deviation)
            residual = correction.value
            action = self._task.action.clip(decoded + np.float32(weight) * residual)
        self._skill_step[places] = (skill_step + 1) % self.skill_steps
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
        """What the next :meth:`decide` depends on, besides what decides."""
        kept = {"latents": self._latents, "decoder_states": self._states, "skill_step": self._skill_step}
        return {name: array.copy() for name, array in kept.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`state`; entries of other owners are left alone."""
        self._latents, self._skill_step = (np.array(state[name]) for name in ("latents", "skill_step"))
        # Older ones have none: the decoder that there was remembers nothing but the latent.
        self._states = np.array(state.get("decoder_states", self._latents))

    @property
    def _skills(self) -> SkillModule:
        assert isinstance(self.module, SkillModule)
        return self.module

    def _start(self, count: int) -> None:
        self._latents = np.zeros((count, self.module.latent_dim), np.float32)
        self._states = np.zeros((count, self.module.state_dim), np.float32)
        self._skill_step = np.zeros(count, np.int64)

    def _drawn(self, places: IntArray) -> FloatArray | None:
        """(n, Z) draws from the episodes' own streams, in those places where a skill will be chosen."""
        if self._mode == "mode" or not self.decodes:
            return None
        begun = np.flatnonzero(self._skill_step[places] == 0)
        if not begun.size:
            return None
        drawn = np.zeros((len(places), self.module.latent_dim), np.float32)
        for row in begun:
            drawn[row] = self._rngs[places[row]].standard_normal(drawn.shape[1], dtype=np.float32)
        return drawn

    def _choose(self, features: FloatArray, places: IntArray, drawn: FloatArray | None) -> Decision:
        choice = self._high_level.act(features, drawn)
        noise = np.clip(choice.value, -self._noise_limit, self._noise_limit)
        latents = self._skills.prior_features(noise, features) if self._from_prior else noise
        self._latents[places], self._states[places] = latents, self._skills.begin(features, latents)
        return choice
