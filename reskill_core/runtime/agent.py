"""A trained two-level agent, evaluated in numpy: skills, the policy that chooses among them, and the residual."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict
from reskill_core.errors import CheckpointError
from reskill_core.lineage import Lineage
from reskill_core.rl.config import AgentConfig
from reskill_core.runtime.networks import Mlp
from reskill_core.runtime.skill_module import UNFIT, SkillModule
from reskill_core.runtime.skill_policy import Mode, SkillPolicy

FloatArray = NDArray[np.float32]

AGENT_KIND = "agent"

# Keys of the checkpoint document beside ``task``, and prefixes of weights. The skill module is in the checkpoint: an
# agent without the very skills that it has learnt to use is worth nothing.
AGENT_KEY, SKILLS_KEY, WEIGHT_KEY = "agent", "skills", "residual_weight"
SKILLS, HIGH_LEVEL, LOW_LEVEL = "skills.", "high_level.", "low_level."


def residual_input(
    features: FloatArray, latents: FloatArray, decoded: FloatArray, phase: FloatArray, weight: float
) -> FloatArray:
    """What the residual sees, (N, F + Z + A + 2).

    Args:
        features: (N, F) of the observation.
        latents: (N, Z) of the running skills.
        decoded: (N, A) actions that the skills want.
        phase: (N,) share of the skill that is over, in [0, 1).
        weight: of the correction, in [0, 1].
    """
    known = np.full(len(features), weight, dtype=np.float32)
    return np.concatenate((features, latents, decoded, phase[:, None], known[:, None]), axis=-1, dtype=np.float32)


class AgentHighLevel:
    """Chooses the noise that stands for the next skill.

    Args:
        module: the skills.
        mean: network from features to the mean of the noise.
        std: (Z,) standard deviation of the noise; None always takes the mean.
        limit: the noise stays within [-limit, limit].
    """

    def __init__(self, module: SkillModule, mean: Mlp, std: FloatArray | None, limit: float) -> None:
        self._module, self._mean, self._std, self._limit = module, mean, std, np.float32(limit)

    def noise(self, observations: FloatArray, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """Noise (N, Z) at observations (N, O); row i draws from ``rngs[i]``."""
        noise = self._mean(self._module.features(observations)).reshape(len(observations), -1)
        if self._std is not None:
            draws = [rng.standard_normal(noise.shape[1], dtype=np.float32) for rng in rngs]
            noise = noise + self._std * np.stack(draws)
        return np.clip(noise, -self._limit, self._limit)


class AgentResidual:
    """Corrects decoded actions by the mean of the residual policy.

    Args:
        module: the skills.
        mean: network from :func:`residual_input` to the correction.
        weight: of the correction.
        skill_steps: control steps after which the next skill is chosen.
    """

    def __init__(self, module: SkillModule, mean: Mlp, weight: float, skill_steps: int) -> None:
        self._module, self._mean, self._weight, self._skill_steps = module, mean, weight, skill_steps

    def correct(
        self, observations: FloatArray, latents: FloatArray, decoded: FloatArray, skill_step: NDArray[np.int64]
    ) -> tuple[FloatArray, float]:
        """Correction (N, A) and its weight; see :class:`~reskill_core.runtime.skill_policy.Residual`."""
        features = self._module.features(observations).reshape(len(observations), -1)
        phase = (skill_step / self._skill_steps).astype(np.float32)
        inputs = residual_input(features, latents, decoded, phase, self._weight)
        if self._module.batch_invariant:
            inputs = inputs[:, None]
        return self._mean(inputs).reshape(decoded.shape), self._weight


def agent_policy(checkpoint: Checkpoint, mode: Mode = "mode", batch_invariant: bool = True) -> SkillPolicy:
    """The policy of an agent's checkpoint.

    Args:
        checkpoint: of kind ``AGENT_KIND``.
        mode: ``mode`` always takes the most likely skill, as agents are evaluated; ``sample`` draws one.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Raises:
        CheckpointError: it lacks something.
    """
    try:
        module = SkillModule(_skills_of(checkpoint), batch_invariant)
        config = config_from_dict(AgentConfig, checkpoint.document[AGENT_KEY], source="the agent")
        weights = checkpoint.weights
        skill_steps = config.steps_per_skill(module.horizon)
        high_level, residual = None, None
        if config.skills:
            std = np.exp(weights[f"{HIGH_LEVEL}log_std"]) if mode == "sample" else None
            mean = Mlp.from_weights(weights, f"{HIGH_LEVEL}actor")
            high_level = AgentHighLevel(module, mean, std, config.noise_limit)
        if config.residual:
            mean = Mlp.from_weights(weights, f"{LOW_LEVEL}actor")
            residual = AgentResidual(module, mean, float(checkpoint.document[WEIGHT_KEY]), skill_steps)
        policy = SkillPolicy(
            module, mode, config.latent_source, high_level, residual, skill_steps, config.skills, checkpoint
        )
        # Acts once, so that parts that do not fit are found now.
        policy.reset([0])
        policy.act(np.zeros((1, policy.task_spec.obs.dim)))
        policy.reset([])
    except UNFIT as error:
        raise CheckpointError(
            f"{checkpoint.folder} lacks a part of an agent, or parts do not fit: {error!r}"
        ) from error
    return policy


def _skills_of(checkpoint: Checkpoint) -> Checkpoint:
    """The skill module within an agent's checkpoint."""
    weights = {k.removeprefix(SKILLS): array for k, array in checkpoint.weights.items() if k.startswith(SKILLS)}
    return Checkpoint(
        weights, checkpoint.document[SKILLS_KEY], checkpoint.folder, Lineage.of(checkpoint.document).skills
    )
