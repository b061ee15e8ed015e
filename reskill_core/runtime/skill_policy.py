"""The skill policy: observation in, action out, once per control step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import SpecError, require_choice
from reskill_core.runtime.skill_action import SkillAction
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.seeding import episode_rng
from reskill_core.spec import TaskSpec

FloatArray = NDArray[np.float32]

Mode = Literal["sample", "mode"]
LatentSource = Literal["prior", "standard_normal"]
MODES = ("sample", "mode")
LATENT_SOURCES = ("prior", "standard_normal")


class HighLevel(Protocol):
    """Decides which skill to run next."""

    def noise(self, observations: FloatArray, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """Noise (N, Z) for the latent source, at observations (N, O); row i may draw from ``rngs[i]`` only."""
        ...


class Residual(Protocol):
    """Corrects the decoded action in every step."""

    def correct(
        self, observations: FloatArray, latents: FloatArray, decoded: FloatArray, skill_step: NDArray[np.int64]
    ) -> tuple[FloatArray, float]:
        """Residual (N, A) and its weight.

        Args:
            observations: (N, O).
            latents: (N, Z) of the running skills.
            decoded: (N, A) actions that the skills want.
            skill_step: (N,) control step within the skill, from 0.
        """
        ...


class SampleNoise:
    """Without an agent: noise from N(0, I), so that skills are sampled from the latent source."""

    def __init__(self, latent_dim: int) -> None:
        self._latent_dim = latent_dim

    def noise(self, observations: FloatArray, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """See :class:`HighLevel`."""
        return np.stack([rng.standard_normal(self._latent_dim, dtype=np.float32) for rng in rngs])


class ModeNoise:
    """Without an agent: noise 0, the mode of the noise. The skill it stands for is arbitrary, but always the same."""

    def __init__(self, latent_dim: int) -> None:
        self._latent_dim = latent_dim

    def noise(self, observations: FloatArray, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """See :class:`HighLevel`."""
        return np.zeros((len(observations), self._latent_dim), dtype=np.float32)


class SkillPolicy:
    """Runs skills on a batch of N environments: a latent is chosen every H steps, decoded in every step.

    Environments may be reset one by one; each keeps its own skill clock and its own random stream, which depends on
    its episode's seed alone.

    Args:
        module: the skills.
        mode: ``sample`` draws noise, ``mode`` takes none; unused where a high level is given.
        latent_source: ``prior`` maps noise to a latent by the skill prior, ``standard_normal`` takes the noise itself
            as latent.
        high_level: chooses the noise, as an agent does.
        residual: corrects the decoded action, as an agent does.
        skill_steps: control steps after which the next skill is chosen; None takes the skills' own length.
        decodes: whether skills are decoded; without them the residual acts alone.
        checkpoint: what it was made from, if not the skills' alone; has the task that it acts in.

    Attributes:
        skill_steps: control steps from one choice of a skill to the next.
    """

    def __init__(
        self,
        module: SkillModule,
        mode: Mode = "sample",
        latent_source: LatentSource = "prior",
        high_level: HighLevel | None = None,
        residual: Residual | None = None,
        skill_steps: int | None = None,
        decodes: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        require_choice("mode", mode, MODES)
        require_choice("latent_source", latent_source, LATENT_SOURCES)
        self.module = module
        self.checkpoint = module.checkpoint if checkpoint is None else checkpoint
        self._task = self.checkpoint.task
        self._mode, self._latent_source = mode, latent_source
        default = SampleNoise if mode == "sample" else ModeNoise
        self._high_level = high_level if high_level is not None else default(module.latent_dim)
        self._residual = residual
        self.skill_steps, self._decodes = skill_steps or module.horizon, decodes
        self._rngs: list[np.random.Generator] = []
        self._latents = np.zeros((0, module.latent_dim), dtype=np.float32)
        self._skill_step = np.zeros(0, dtype=np.int64)

    @property
    def task_spec(self) -> TaskSpec:
        """The task it acts in; of skills alone, the one they were learnt for."""
        return self._task

    @property
    def description(self) -> str:
        """What acts, in a few words."""
        if self.checkpoint is self.module.checkpoint:
            return f"skills {self._mode}"
        return f"{self.checkpoint.kind} {self._mode}"

    @property
    def num_envs(self) -> int:
        """Number N of environments; 0 before the first reset."""
        return len(self._rngs)

    def reset(self, seeds: Sequence[int], indices: Sequence[int] | None = None) -> None:
        """Start episodes: the next :meth:`act` chooses new skills for them.

        Args:
            seeds: seed of each episode.
            indices: environments they start in; None resets all, and fixes their number.

        Raises:
            SpecError: indices and seeds differ in number, or an index is out of range.
        """
        if indices is None:
            self._rngs = [episode_rng(seed, "policy") for seed in seeds]
            self._latents = np.zeros((len(seeds), self.module.latent_dim), dtype=np.float32)
            self._skill_step = np.zeros(len(seeds), dtype=np.int64)
            return
        if len(indices) != len(seeds) or any(not 0 <= index < self.num_envs for index in indices):
            raise SpecError(f"cannot reset {list(indices)} with {len(seeds)} seeds: there are {self.num_envs} envs")
        for index, seed in zip(indices, seeds, strict=True):
            self._rngs[index] = episode_rng(seed, "policy")
            self._skill_step[index] = 0

    def act(self, observations: ArrayLike, indices: Sequence[int] | NDArray[np.int64] | None = None) -> SkillAction:
        """Decide one control step.

        A row with a NaN gives a NaN action and leaves the other rows alone; refusing it is the gate's task.

        Args:
            observations: (n, O), one row per environment in ``indices``.
            indices: environments to act for, each at most once; all by default. The others' skills stand still.

        Raises:
            SpecError: the shape is wrong, for instance before the first :meth:`reset`.
        """
        observations = np.asarray(observations, dtype=np.float32)
        envs = np.arange(self.num_envs) if indices is None else np.asarray(indices)
        if observations.shape != (len(envs), self.task_spec.obs.dim):
            raise SpecError(
                f"observations have shape {observations.shape}, expected ({len(envs)}, {self.task_spec.obs.dim}): "
                "one row per environment given to reset()"
            )
        features = self.module.features(observations)
        if self._decodes:
            self._choose_skills(envs, observations, features)
        latents = self._latents[envs]
        if self._decodes:
            decoded = self.module.decode_features(features, latents)
        else:
            decoded = np.zeros((len(envs), self.task_spec.action.dim), dtype=np.float32)
        skill_step = self._skill_step[envs]
        if self._residual is None:
            residual, weight, action = np.zeros_like(decoded), 0.0, decoded
        else:
            residual, weight = self._residual.correct(observations, latents, decoded, skill_step)
            action = self.task_spec.action.clip(decoded + np.float32(weight) * residual)
        self._skill_step[envs] = (skill_step + 1) % self.skill_steps
        return SkillAction(
            action=action,
            decoded_action=decoded,
            residual=residual,
            residual_weight=np.full(len(envs), weight, dtype=np.float32),
            latent=latents,
            skill_step=skill_step,
        )

    def _choose_skills(self, envs: NDArray[np.int64], observations: FloatArray, features: FloatArray) -> None:
        due = np.flatnonzero(self._skill_step[envs] == 0)
        if due.size == 0:
            return
        noise = self._high_level.noise(observations[due], [self._rngs[index] for index in envs[due]])
        if self._latent_source == "prior":
            noise = self.module.prior_features(noise, features[due])
        self._latents[envs[due]] = noise
